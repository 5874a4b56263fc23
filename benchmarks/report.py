"""docs/performance.md and its chart, written from what `make bench` and `make scale` have measured.

`python -m benchmarks.report` writes them from the last whole run's results; it invents nothing.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import chart, ratios
from benchmarks.figures import Figure, Results, errors, figure, last, number, why_not

ROOT = Path(__file__).parents[1]
MEASURED = ROOT / ".bench" / "results.json"
SCALE = ROOT / ".bench" / "scale.json"
DOCUMENT = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"


@dataclass(frozen=True)
class Column:
    workload: str
    name: str
    title: str


TABLES: dict[str, tuple[Column, ...]] = {
    "Jobs a second": (
        Column("drain", "drain", "run: no-ops"),
        Column("results", "results", "run: with results"),
        Column("enqueue", "one", "enqueue: one at a time"),
        Column("enqueue", "many", "enqueue: 16 callers"),
        Column("drain", "bulk", "enqueue: in bulk"),
        Column("io", "io", "run: `sleep 0.1`, 3 × 50"),
    ),
    "Milliseconds from enqueue to start": (
        Column("pickup", "p50", "idle, p50"),
        Column("pickup", "p99", "idle, p99"),
        Column("pickup", "p50_after", "from its return, p50"),
        Column("pickup", "p99_after", "from its return, p99"),
        Column("pickup", "half_rate", "half load: jobs/s"),
        Column("pickup", "half_p50", "half load, p50"),
        Column("pickup", "half_p99", "half load, p99"),
        Column("mixed", "p50", "mixed, p50"),
        Column("mixed", "p99", "mixed, p99"),
    ),
    "The API over HTTP: requests a second, and milliseconds": (
        Column("api", "post", "submit one, a second"),
        Column("api", "post_p50", "p50"),
        Column("api", "post_p99", "p99"),
        Column("api", "post_bulk", "submit 100, a second"),
        Column("api", "post_bulk_p50", "p50"),
        Column("api", "post_bulk_p99", "p99"),
        Column("api", "get", "show one, a second"),
        Column("api", "get_p50", "p50"),
        Column("api", "get_p99", "p99"),
    ),
    "Three idle workers": (
        Column("idle", "cpu", "CPU, % of a core"),
        Column("idle", "memory", "memory (PSS), MiB"),
        Column("idle", "processes", "processes"),
    ),
}
HEAD = """# Performance

*Written by `make bench` from what it has measured; do not edit.*

Every job here is durable before its caller is answered, and each of its moves is written to MongoDB
with majority and journal, with every index of production in place. What a peer does *not* do stands
beside its figures. *Durability*: a job waits in Redis only, and what that loses is lost. *States*:
a record of what became of a job. *Results for good*: they are in Redis, most of them for some
minutes or hours. *What ran in a dead worker* is lost with it, where here it runs again.
"""
METHOD = """
## How it is measured

All of it in one run on one machine, which also runs MongoDB and Redis. Every figure of every system
has a fresh Redis (its default settings), its own processes and, here, an empty database with all
indexes. Each system runs in three worker processes with what its documentation advises for speed.
Round 1 measures every system, then round 2 does in reverse; shown is the median, and from where to
where the rounds went.

- **run**: jobs are enqueued first, then the workers start; the clock runs from the first start to
  the last end, and starts when all three processes have their first job. Each execution counts
  itself and reads a clock, in memory shared with the runner (0.3 µs); no queue's own books are
  asked. For this project and the limit the clock stops only when MongoDB has the last end.
  A slow queue gets fewer jobs, so that a round takes seconds: the table of settings says how many.
- **one at a time**: 1,000 calls, one after the other; **16 callers** are threads of one process, or
  tasks and promises where that is its way; **in bulk** is the call named in the table of settings,
  on a connection that is there.
- **idle** pickup: 300 jobs, one every 20 ms or so, from just before enqueue is called to the first
  line of the job; *from its return* is counted from when enqueue returned: the rest is what being
  durable costs the caller. Below 0: the job began before enqueue had returned.
- **half load**: half of the system's own rate of no-ops in this run, 2,000 a second at most, for
  5 s in steps of 10 ms.
- **mixed**: bursts of 40 jobs every 0.5 s, in bulk where there is such a call; one in a hundred
  takes 2 s, and the others' wait is shown. Three processes that run one job at a time have 1.6
  of 3 taken by slow jobs. Systems with threads or coroutines run them beside each other.
- **the API**: gunicorn with the settings of `make run` (two workers of four threads), and 8 clients
  that ask again as soon as they are answered, each on a connection of its own, with a token, limits
  counted. `POST /jobs/`, `POST /jobs/bulk/` of 100, `GET /jobs/{id}/`. The clients are one thread
  with bare sockets and requests written beforehand; how much of a core it took is in the results.
- **idle workers**: CPU time of the whole tree of processes, supervisors included, and its
  proportional set size.
"""


def render(results: Results, scale: Results | None) -> str:
    """Return the document."""
    parts = [
        HEAD,
        _facts(results),
        "![Jobs a second](performance.svg)\n",
        _promises(results, scale),
    ]
    parts += [_table(title, columns, results) for title, columns in TABLES.items()]
    parts += [_idle(results), _scaling(results), scale_section(scale), METHOD]
    parts += [_settings(results), _without(results), _errors(results)]
    return "\n".join(part.strip() + "\n" for part in parts if part)


def _facts(results: Results) -> str:
    facts = results["facts"]
    rounds = ", ".join(f"{name} {count}" for name, count in results["rounds"].items())
    return (
        f"Measured {facts['started']} UTC at {facts['commit']}, on {facts['machine']}; MongoDB "
        f"{facts['mongod']} (a replica set of one), Redis {facts['redis']}. The run took "
        f"{facts.get('minutes', '?')} minutes. Rounds: {rounds}."
    )


def _promises(results: Results, scale: Results | None) -> str:
    rows = ratios.rows(results, scale)
    met = sum(row.met is True for row in rows)
    lines = [[r.what, r.ours, r.other, r.ratio, r.target, r.verdict] for r in rows]
    titles = ["What, and beside what", "here", "there", "ratio", "target", "verdict"]
    head = f"## What was promised\n\n{met} of {len(rows)} are met.\n\n"
    return head + markdown(titles, lines, numbers={1, 2, 3, 4})


def _table(title: str, columns: Sequence[Column], results: Results) -> str:
    titles = ["", *(column.title for column in columns), "not done"]
    rows = [[known["label"], *cells, known["lacks"]] for known, cells in _cells(columns, results)]
    return f"## {title}\n\n" + markdown(titles, rows, numbers=range(1, len(titles) - 1))


def _cells(columns: Sequence[Column], results: Results) -> Iterable[tuple[Results, list[str]]]:
    """Each system that has any of these figures."""
    for name, known in results["systems"].items():
        found = [figure(results, name, column.workload, column.name) for column in columns]
        if any(found):
            yield known, [cell(one) for one in found]


def cell(found: Figure | None) -> str:
    if found is None:
        return "–"
    if found.rounds == 1 or found.low == found.high:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)} to {number(found.high)})"


def _idle(results: Results) -> str:
    seen = last(results, "ours", "idle", "commands")
    if seen is None:
        return ""
    seconds = last(results, "ours", "idle", "seconds")
    listed = ", ".join(f"{count} × `{name}`" for name, count in sorted(seen.items()))
    return f"In {seconds:.0f} idle seconds this project asked MongoDB for: {listed or 'nothing'}."


def _scaling(results: Results) -> str:
    found = {n: figure(results, "ours", "scaling", f"processes_{n}") for n in (1, 3, 6)}
    rates = [f"{n}: {number(one.median)}" for n, one in found.items() if one]
    if not rates:
        return ""
    return (
        "Jobs that wait 0.1 s, one at a time in each process: by processes, "
        f"{', '.join(rates)} jobs a second."
    )


def _settings(results: Results) -> str:
    rows = [
        [
            known["label"],
            known["version"] or "not installed",
            known["settings"],
            f"{known['jobs']:,}",
            known["bulk"] or "no such call",
        ]
        for known in results["systems"].values()
    ]
    titles = ["", "version", "settings", "jobs a round", "bulk"]
    return "## Versions and settings\n\n" + markdown(titles, rows, numbers={3})


def _without(results: Results) -> str:
    """Say of every dash in the tables what it means."""
    reasons: dict[str, list[str]] = {}
    for name, known in results["systems"].items():
        for why in dict.fromkeys(_reasons(results, name)):
            reasons.setdefault(why, []).append(known["label"].strip("*"))
    lines = [f"- {', '.join(labels)}: {why}." for why, labels in reasons.items()]
    return "## Not measured\n\n" + "\n".join(lines) if lines else ""


def _reasons(results: Results, system: str) -> Iterable[str]:
    known = results["systems"][system]
    if known["missing"]:
        yield f"not installed: {known['missing']}"
        return
    if everything_else := known["unfit"].get("*"):
        yield f"{', '.join(known['works'])} alone; {everything_else}"
    for workload in dict.fromkeys(one.workload for columns in TABLES.values() for one in columns):
        fit = workload in known["works"] or "*" not in known["unfit"]
        if fit and not _has(results, system, workload):
            yield f"{workload}: {why_not(results, system, workload)}"


def _has(results: Results, system: str, workload: str) -> bool:
    names = [one.name for columns in TABLES.values() for one in columns if one.workload == workload]
    return any(figure(results, system, workload, name) for name in names)


def _errors(results: Results) -> str:
    lines = [f"- {line}" for line in errors(results)]
    return "## Failed\n\n" + "\n".join(lines) if lines else ""


def scale_section(scale: Results | None) -> str:
    """Return the part about `make scale`; empty where there was none."""
    if scale is None:
        return ""
    facts = scale["facts"]
    text = (
        f"## At scale\n\n*`make scale`, {facts['started']} UTC at {facts['commit']}.* "
        f"{facts['finished']:,} finished jobs of {facts['types']:,} job types, "
        f"{facts['pending']:,} pending ones in a queue of their own and the records of "
        f"{facts['workers']} workers, filled in {facts['fill_seconds']:.0f} s. They take "
        f"{facts['stored_mib']:,.0f} MiB on disk; MongoDB may keep {facts['cache_mib']:,.0f} MiB "
        "in memory. *Empty* means with nothing but the jobs of the rounds themselves.\n\n"
    )
    rows = [
        [title, *(cell(figure(scale, place, name, key)) for place in ("empty", "full"))]
        for name, key, title in scale["titles"]
        if figure(scale, "full", name, key)
    ]
    table = markdown(["", "empty", "full"], rows, numbers={1, 2})
    payloads = [
        [size, *(cell(figure(scale, size, "payload", key)) for key in ("enqueue", "drain"))]
        for size in facts["payloads"]
    ]
    titles = ["payload", "enqueued in bulk a second", "run a second"]
    failed = [f"- failed: {line}" for line in errors(scale)]
    return text + table + "\n" + markdown(titles, payloads, numbers={1, 2}) + "\n".join(failed)


def markdown(
    titles: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()
) -> str:
    right = set(numbers)
    lines = [
        "| " + " | ".join(titles) + " |",
        "|" + "|".join("--:" if place in right else "---" for place in range(len(titles))) + "|",
        *("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def panels(results: Results) -> list[chart.Panel]:
    shown = (
        ("Run, no-ops: jobs a second", "drain", "drain", False),
        ("Enqueue in bulk: jobs a second", "drain", "bulk", False),
        ("Enqueue one at a time: jobs a second", "enqueue", "one", False),
        ("Idle pickup, p50: milliseconds, less is better", "pickup", "p50", True),
    )
    return [
        chart.Panel(title, _bars(results, workload, name, ascending))
        for title, workload, name, ascending in shown
    ]


def _bars(results: Results, workload: str, name: str, ascending: bool) -> list[chart.Bar]:
    """The best first."""
    bars = []
    for system, known in results["systems"].items():
        if found := figure(results, system, workload, name):
            kind = system if system in ("ours", "limit") else "bar"
            label = known["label"].strip("*")
            bars.append(chart.Bar(label, kind, found.median, found.low, found.high))
    return sorted(bars, key=lambda bar: bar.median, reverse=not ascending)


def show(results: Results) -> None:
    """Print the tables in the terminal."""
    console = Console()
    for title, columns in TABLES.items():
        table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
        table.add_column("")
        for column in columns:
            table.add_column(column.title.replace("`", ""), justify="right")
        for known, cells in _cells(columns, results):
            table.add_row(
                escape(known["label"].strip("*")), *(text.replace(" (", "\n(") for text in cells)
            )
        if table.row_count:
            console.print(table)
    promised = Table(title="What was promised", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("", "here", "there", "ratio", "target", "verdict"):
        promised.add_column(name)
    for row in ratios.rows(results, read(SCALE)):
        if row.met is not None:
            texts = [row.what, row.ours, row.other, row.ratio, row.target, row.verdict]
            promised.add_row(*(escape(text.replace("`", "").strip("*")) for text in texts))
    if promised.row_count:
        console.print(promised)
    for line in errors(results):
        console.print(f"failed: {escape(line)}", style="red")


def short(value: Any) -> str:
    """Write any figure in one word, for the line of a measurement."""
    if isinstance(value, dict):
        return " ".join(f"{count}x{name.replace(' ', ':')}" for name, count in value.items()) or "-"
    return number(float(value))


def read(path: Path) -> Results | None:
    return json.loads(path.read_text()) if path.exists() else None


def write() -> None:
    """Write the document and the chart from the last whole run."""
    results = read(MEASURED)
    if results is None:
        raise SystemExit("There are no results: run `make bench`.")
    DOCUMENT.write_text(render(results, read(SCALE)))
    CHART.write_text(chart.render(panels(results)))
    print(f"{DOCUMENT.relative_to(ROOT)} and {CHART.relative_to(ROOT)} are written.")


if __name__ == "__main__":
    write()
