"""What the rounds say together: the median of a figure, and between what it lay."""

import statistics
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One figure of one system over its rounds."""

    median: float
    low: float
    high: float
    rounds: int


def figure(results: Results, system: str, workload: str, name: str) -> Figure | None:
    """Return a figure; `None` where no round has one."""
    values = [
        float(cell["figures"][name])
        for cell in results.get("cells", [])
        if cell["system"] == system
        and cell["workload"] == workload
        and cell["figures"].get(name) is not None
    ]
    if not values:
        return None
    return Figure(statistics.median(values), min(values), max(values), len(values))


def last(results: Results, system: str, workload: str, name: str) -> Any:
    """Return what the last round noted under a name, if that is no number; `None`: nothing."""
    found = None
    for cell in results.get("cells", []):
        if (cell["system"], cell["workload"]) == (system, workload):
            found = cell["figures"].get(name, found)
    return found


def errors(results: Results) -> list[str]:
    """Return a line for every measurement that failed."""
    return [
        f"{cell['system']}, {cell['workload']}, round {cell['round']}: {cell['error']}"
        for cell in results.get("cells", [])
        if cell["error"]
    ]


def why_not(results: Results, system: str, workload: str) -> str:
    """Return why a system has no figure of a workload."""
    known = results["systems"][system]
    if known["missing"]:
        return "not installed"
    if workload not in known["works"]:
        unfit: dict[str, str] = known["unfit"]
        return unfit.get(workload) or unfit.get("*", "not measured")
    failed = any(
        cell["error"]
        for cell in results.get("cells", [])
        if (cell["system"], cell["workload"]) == (system, workload)
    )
    return "failed" if failed else "not measured in this run"


def number(value: float) -> str:
    """Write a number with about three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
