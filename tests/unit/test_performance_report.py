"""docs/performance.md says what was measured, and computes what it claims."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from benchmarks import chart, ratios, report
from benchmarks.figures import figure
from benchmarks.systems import SYSTEMS

Figures = dict[str, Any]


def cell(system: str, workload: str, error: str = "", **figures: Any) -> dict[str, Any]:
    common = {"round": 1, "took": 1.0, "error": error}
    return {"system": system, "workload": workload, "figures": figures, **common}


def results(*cells: dict[str, Any], missing: str = "") -> dict[str, Any]:
    facts = {"started": "2026-11-25 03:00", "commit": "commit abc", "machine": "2 cores"}
    return {
        "facts": {**facts, "mongod": "6.0.5", "redis": "6.2.9", "minutes": 25.0},
        "rounds": {"drain": 5},
        "systems": {
            name: {
                "label": system.label,
                "settings": system.settings,
                "lacks": system.lacks,
                "jobs": system.jobs,
                "bulk": system.bulk,
                "unfit": dict(system.unfit),
                "works": sorted(system.works),
                "version": "1.2.3",
                "missing": missing if name == "sidekiq" else "",
            }
            for name, system in SYSTEMS.items()
        },
        "cells": list(cells),
    }


DRAINS = [
    *(cell("ours", "drain", drain=rate, bulk=30_000) for rate in (14_000, 16_000, 15_000)),
    cell("limit", "drain", drain=20_000, bulk=40_000),
    cell("sidekiq", "drain", drain=9_000),
    cell("huey", "drain", error="Failed: 9 of 10 jobs | ended"),
]


def row(found: list[ratios.Row], what: str) -> ratios.Row:
    (only,) = [each for each in found if each.what == what]
    return only


def test_a_ratio_is_of_medians_and_says_whether_its_target_is_met() -> None:
    rows = ratios.rows(results(*DRAINS), None)
    sidekiq = row(rows, "Drain of no-ops: Sidekiq")
    assert (sidekiq.ours, sidekiq.other, sidekiq.ratio) == ("15,000", "9,000", "1.67")
    assert sidekiq.target == "≥ 1.5 ×"
    assert sidekiq.met
    limit = row(rows, "Drain of no-ops: the limit")
    assert (limit.ratio, limit.met, limit.verdict) == ("0.75", False, "**not met**")


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    rows = ratios.rows(results(*DRAINS), None)
    assert row(rows, "Drain of no-ops: Huey").met is None
    assert row(rows, "Scale: drain with a full database: with an empty one").met is None
    assert row(rows, "Idle: MongoDB writes besides heartbeats").met is None


@pytest.mark.parametrize(
    ("p99", "met"), [(49.9, True), (50.0, True), (50.1, False)], ids=["below", "at", "above"]
)
def test_a_figure_alone_is_compared_with_its_bound(p99: float, met: bool) -> None:
    rows = ratios.rows(results(cell("ours", "pickup", half_p99=p99)), None)
    assert row(rows, "Pickup under half load, p99").met is met


def test_processes_are_compared_with_as_many_times_one() -> None:
    scaling = cell("ours", "scaling", processes_1=10.0, processes_3=29.0, processes_6=54.0)
    rows = ratios.rows(results(scaling), None)
    three = row(rows, "Jobs that wait, 3 processes: 3 × one")
    six = row(rows, "Jobs that wait, 6 processes: 6 × one")
    assert (three.ratio, three.met, six.ratio, six.met) == ("0.97", True, "0.90", False)


def test_an_idle_tree_may_write_heartbeats_and_nothing_else() -> None:
    assert ratios.writes({"update workers": 4}).met is True
    other = ratios.writes({"update workers": 4, "insert tallies": 1})
    assert (other.met, other.ours) == (False, "1 × insert tallies")


def test_scale_is_compared_within_its_own_run() -> None:
    cells = [
        cell("empty", "drain", drain=10_000),
        cell("full", "drain", drain=7_000),
        cell("full", "rested", milliseconds=12.0),
        cell("full", "overview", milliseconds=52.0),
    ]
    rows = ratios.rows(results(), {"cells": cells})
    assert row(rows, "Scale: drain with a full database: with an empty one").met is False
    assert row(rows, "Scale: the overview's queries, six minutes after 100,000 jobs").met is True
    assert row(rows, "Scale: the same right after them").met is False


def test_the_document_shows_figures_with_their_spread_and_what_each_peer_lacks() -> None:
    text = report.render(results(*DRAINS), None)
    assert "15,000 (14,000 to 16,000)" in text
    assert SYSTEMS["sidekiq"].lacks in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|"), line


def test_the_document_says_why_a_figure_is_not_there() -> None:
    text = report.render(results(*DRAINS, missing="it needs a package"), None)
    assert "- Sidekiq: not installed: it needs a package." in text
    assert "- Huey: drain: failed." in text
    assert "huey, drain, round 1: Failed: 9 of 10 jobs" in text
    assert "Sidekiq: results" not in text  # said once is enough
    assert "a worker runs one job at a time, in a process forked for it" in text


def test_the_terminal_shows_the_same_figures(capsys: pytest.CaptureFixture[str]) -> None:
    report.show(results(*DRAINS))
    assert "15,000" in capsys.readouterr().out


def test_the_chart_is_svg_with_a_bar_for_each_system() -> None:
    drawn = ET.fromstring(chart.render(report.panels(results(*DRAINS))))  # noqa: S314 - our own
    bars = [each for each in drawn.iter() if each.tag.endswith("rect")]
    assert [each.get("class") for each in bars] == ["limit", "ours", "bar", "limit", "ours"]
    widths = [float(each.get("width") or 0) for each in bars[:3]]
    assert widths[0] > widths[1] > widths[2]


def test_a_median_is_taken_over_the_rounds_that_have_it() -> None:
    found = figure(results(*DRAINS), "ours", "drain", "drain")
    assert found is not None
    assert (found.median, found.low, found.high, found.rounds) == (15_000, 14_000, 16_000, 3)
    assert figure(results(*DRAINS), "huey", "drain", "drain") is None
