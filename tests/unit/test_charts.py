"""Where the points of a chart are, and what its axis says."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import charts
from jobs.charts import HEIGHT, SPARK_HEIGHT, WIDTH

POINT = re.compile(r"([ML])([\d.]+) ([\d.]+)")


def points(path: str) -> list[tuple[str, float, float]]:
    return [(pen, float(x), float(y)) for pen, x, y in POINT.findall(path)]


def test_the_axis_begins_at_nothing_and_ends_above_the_highest_value() -> None:
    chart = charts.counts({"a": [0.0, 30.0, 60.0]})
    assert chart.ticks == [60.0, 45.0, 30.0, 15.0, 0.0]
    assert points(chart.lines[0].path) == [
        ("M", 0.0, HEIGHT),
        ("L", WIDTH / 2, HEIGHT / 2),
        ("L", WIDTH, 0.0),
    ]


@pytest.mark.parametrize(
    ("most", "top"), [(0, 4), (3, 4), (5, 8), (9, 12), (17, 20), (21, 40), (100, 100), (812, 1000)]
)
def test_an_axis_ends_at_a_number_that_is_read_with_ease(most: float, top: float) -> None:
    assert charts.counts({"a": [most]}).ticks[0] == top


def test_times_of_milliseconds_and_of_minutes_are_told_apart_on_one_axis() -> None:
    chart = charts.times({"p50": [10.0, 10.0], "p95": [100_000.0, 100_000.0]})
    assert chart.ticks == [100_000, 10_000, 1000, 100, 10, 1]
    low, high = (points(line.path)[0][2] for line in chart.lines)
    assert (low, high) == (HEIGHT * 4 / 5, 0.0)


def test_a_line_is_broken_where_nothing_is_known_and_says_its_newest_value() -> None:
    (line,) = charts.times({"p50": [1.0, None, 10.0, 10.0, None]}).lines
    assert [pen for pen, _, _ in points(line.path)] == ["M", "M", "L"]
    assert line.path.startswith("M0.0 120.0h0")  # alone, it is a dot
    assert line.last == 10.0


def test_nothing_at_all_is_an_empty_chart() -> None:
    chart = charts.counts({"completed": [0.0] * 60, "failed": [0.0] * 60})
    assert chart.empty
    assert charts.times({"p50": [None] * 60}).lines[0].path == ""


def test_a_small_line_uses_all_of_its_height_and_is_flat_without_a_change() -> None:
    assert [y for _, _, y in points(charts.sparkline([5, 6, 5]))] == [SPARK_HEIGHT, 0, SPARK_HEIGHT]
    assert {y for _, _, y in points(charts.sparkline([7, 7, 7]))} == {SPARK_HEIGHT}


VALUES = st.lists(st.none() | st.floats(0, 1e12), min_size=1, max_size=60)


@given(VALUES)
def test_no_point_is_outside_of_its_chart(values: list[float | None]) -> None:
    known = sum(value is not None for value in values)
    for chart in (charts.counts({"a": values}), charts.times({"a": values})):
        drawn = points(chart.lines[0].path)
        assert len(drawn) == known
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for _, x, y in drawn)
        assert all(math.isfinite(tick) for tick in chart.ticks)
        assert chart.ticks == sorted(chart.ticks, reverse=True)
