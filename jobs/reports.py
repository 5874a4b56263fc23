"""What `generate_report` does: the queue's own activity over a period, as a page and as CSV."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import StringIO
from itertools import chain
from typing import Any, Literal

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.template.loader import render_to_string

from jobs import selectors
from jobs.states import State

ReportType = Literal["summary", "by_type", "failures"]
Cell = str | int | float | None
MAX_FAILURES = 100
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell starts that a spreadsheet would run


@dataclass(frozen=True)
class Period:
    """The jobs created from `since` on and before `until`."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Table:
    """What a report shows: the page and the CSV are two views of it. `None` is an empty cell."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]


def generate(title: str, report_type: ReportType, hours: float) -> dict[str, Any]:
    """Store a report on the jobs created in the last `hours` as HTML and CSV; say where.

    The clock is MongoDB's. `jobs` and `by_status` count every job of the period, whatever
    the report type lists.
    """
    until = selectors.now()
    period = Period(until - timedelta(hours=hours), until)
    activity = selectors.activity(period.since, period.until)
    table = TABLES[report_type](period, activity)
    counts = by_status(activity)
    name = f"reports/{report_type}-{until:%Y%m%dT%H%M%SZ}"
    page = render_to_string(
        "reports/report.html",
        {"title": title, "period": period, "table": table, "by_status": counts},
    )
    return {
        "html": default_storage.save(f"{name}.html", ContentFile(page.encode())),
        "csv": default_storage.save(f"{name}.csv", ContentFile(as_csv(table).encode())),
        "since": period.since.isoformat(),
        "until": period.until.isoformat(),
        "jobs": sum(counts.values()),
        "by_status": counts,
    }


def by_status(activity: Iterable[selectors.ActivityRow]) -> dict[str, int]:
    """Return how many jobs are in each state, in the order of the states, without the zeros."""
    counts = Counter[str]()
    for row in activity:
        counts[row.status] += row.count
    return {state.value: counts[state] for state in State if counts[state]}


def as_csv(table: Table) -> str:
    """Return the table as CSV with a header line, safe to open in a spreadsheet."""
    return "".join(csv_lines(table.columns, table.rows))


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """Yield the lines of a table as CSV, the header first, safe to open in a spreadsheet."""
    for row in chain([columns], rows):
        line = StringIO(newline="")
        csv.writer(line).writerow([_inert(cell) for cell in row])
        yield line.getvalue()


def _inert(cell: Cell) -> Cell:
    """A leading quote makes a spreadsheet show text that it would else run as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _summary(period: Period, activity: Sequence[selectors.ActivityRow]) -> Table:
    counts = by_status(activity)
    jobs = sum(counts.values())
    rows = []
    for status, count in counts.items():
        members = [row for row in activity if row.status == status]
        attempts = sum(row.attempts for row in members)
        share = round(100 * count / jobs, 1)
        rows.append((status, count, share, attempts, _seconds(_mean(members))))
    columns = ("status", "jobs", "share_percent", "attempts", "mean_seconds")
    return Table("Jobs by status", columns, rows)


def _by_type(period: Period, activity: Sequence[selectors.ActivityRow]) -> Table:
    order = {state.value: place for place, state in enumerate(State)}
    rows = [
        (row.type, row.status, row.count, row.attempts, _seconds(row.mean_seconds))
        for row in sorted(activity, key=lambda row: (row.type, order[row.status]))
    ]
    columns = ("type", "status", "jobs", "attempts", "mean_seconds")
    return Table("Jobs by type and status", columns, rows)


def _failures(period: Period, activity: Sequence[selectors.ActivityRow]) -> Table:
    found = selectors.failures(period.since, period.until, limit=MAX_FAILURES)
    rows = [
        (
            row.id,
            row.type,
            row.status,
            row.failed_at.isoformat() if row.failed_at else None,
            row.error,
        )
        for row in found
    ]
    columns = ("id", "type", "status", "failed_at", "error")
    return Table(f"Failures, at most {MAX_FAILURES}", columns, rows)


def _mean(rows: Iterable[selectors.ActivityRow]) -> float | None:
    """Return the mean over types, each weighted by its jobs; `None` if no job has a duration."""
    timed = [(row.mean_seconds, row.count) for row in rows if row.mean_seconds is not None]
    jobs = sum(count for _, count in timed)
    return sum(mean * count for mean, count in timed) / jobs if jobs else None


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


TABLES: dict[ReportType, Callable[[Period, Sequence[selectors.ActivityRow]], Table]] = {
    "summary": _summary,
    "by_type": _by_type,
    "failures": _failures,
}
