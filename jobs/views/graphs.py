"""What the charts show of the last minutes, and the same as a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from jobs import charts
from jobs.charts import Chart
from jobs.selectors import Minute
from jobs.tallies import quantile
from jobs.templatetags.job_tags import duration

MARKS = 4  # times below a chart, besides the first
FAILED = ("failed", "timed_out", "crashed", "lost")


@dataclass(frozen=True)
class Graph:
    """A chart with its labels, and its numbers as a table: the newest minute first."""

    id: str
    title: str
    unit: str
    chart: Chart
    labels: list[str]  # of the axis, from its top down
    legend: list[tuple[str, str]]  # each line and its newest value
    marks: list[datetime]
    rows: list[tuple[datetime, tuple[str, ...]]]


def throughput(minutes: Sequence[Minute]) -> Graph:
    """Executions that ended in each minute, well or not."""
    series = {
        "completed": [float(minute.outcomes["completed"]) for minute in minutes],
        "failed": [float(sum(minute.outcomes[name] for name in FAILED)) for minute in minutes],
    }
    return _graph("throughput", "Ended", "a minute", minutes, series, charts.counts, _count)


def waits(minutes: Sequence[Minute]) -> Graph:
    """How long jobs waited in their lanes, of the executions that ended in each minute."""
    series = _quantiles([minute.waited for minute in minutes])
    return _graph("waits", "Waited", "", minutes, series, charts.times, _time)


def runs(minutes: Sequence[Minute]) -> Graph:
    """How long executions took."""
    series = _quantiles([minute.ran for minute in minutes])
    return _graph("runs", "Ran", "", minutes, series, charts.times, _time)


def _quantiles(histograms: Sequence[dict[int, int]]) -> dict[str, list[float | None]]:
    shares = {"p50": 0.5, "p95": 0.95}
    return {
        name: [quantile(histogram, share) for histogram in histograms]
        for name, share in shares.items()
    }


def _graph(
    id: str,
    title: str,
    unit: str,
    minutes: Sequence[Minute],
    series: dict[str, list[float]] | dict[str, list[float | None]],
    draw: Callable[..., Chart],
    say: Callable[[float | None], str],
) -> Graph:
    chart = draw(series)
    times = [minute.at for minute in minutes]
    rows = zip(times, *series.values(), strict=True)
    return Graph(
        id,
        title,
        unit,
        chart,
        [say(tick) for tick in chart.ticks],
        [(line.name, say(line.last)) for line in chart.lines],
        [times[len(times) * mark // MARKS - (mark == MARKS)] for mark in range(MARKS + 1)],
        [(at, tuple(map(say, values))) for at, *values in reversed(list(rows))],
    )


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _time(value: float | None) -> str:
    return "–" if value is None else duration(value / 1000).replace(".0 s", " s")
