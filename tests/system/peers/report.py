"""The results as Markdown: which configurations, and one table of rows by queues."""

from collections.abc import Iterable
from typing import Any

LEGEND = """\
Each cell: accepted / lost / executed twice / seconds to recover.

- *accepted*: the enqueue call returned without an error.
- *lost*: accepted, and never ended within the limit, and the queue's store no longer holds it \
(or holds it as failed, which is said). *late*: not ended within the limit, but still held.
- *twice*: jobs whose code ran from start to end more than once.
- *seconds*: from the fault until the last job it hit had ended: the jobs that were running in \
what was killed or stopped (rows 1, 2, 4), or every accepted job, with the working off of the \
backlog (the other rows; row 9 counts from the last SIGTERM, row 15 from the last lost reply). \
A dash: at least one never ended within the limit."""

REHEARSAL = "**A rehearsal (`--quick`): few jobs and three faults where the titles say ten.**"


def render(results: dict[str, Any]) -> str:
    """Return the configuration list and the table. `results` is what `run` writes."""
    peers = results["configurations"]
    return "\n\n".join(
        [
            *([REHEARSAL] if results.get("quick") else []),
            "\n".join(_configuration(peer, results["versions"]) for peer in peers),
            _table(results["rows"], peers, results["titles"]),
            LEGEND,
            *_notes(results["rows"], peers),
        ]
    )


def _configuration(peer: dict[str, Any], versions: dict[str, str]) -> str:
    limit = f"{peer['patience']:.0f} s"
    text = f"- **{peer['label']}** ({versions[peer['name']]}): {peer['configuration']}."
    return f"{text} {peer['why']} Limit {limit}."


def _table(rows: list[dict[str, Any]], peers: list[dict[str, Any]], titles: dict[str, str]) -> str:
    cells = {(row["row"], row["peer"]): cell(row) for row in rows}
    names = [peer["name"] for peer in peers]
    lines = [
        _line("#", "Fault", *(peer["label"] for peer in peers)),
        _line("---", "---", *("---" for _ in peers)),
    ]
    for number, title in titles.items():
        line = [cells.get((number, name), "not run") for name in names]
        if set(line) != {"not run"}:
            lines.append(_line(number, title, *line))
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def cell(row: dict[str, Any]) -> str:
    """Return a cell such as "300 / 0 lost / 3 twice / 12 s"."""
    if row["accepted"] is None:
        return "the harness failed"
    parts = [str(row["accepted"]), _lost(row)]
    if row["late"]:
        parts.append(f"{row['late']} late")
    parts += [f"{row['twice']} twice", _seconds(row["seconds_all"])]
    return " / ".join(parts)


def _lost(row: dict[str, Any]) -> str:
    failed = f" ({row['failed']} as failed)" if row.get("failed") else ""
    return f"{row['lost']} lost{failed}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _notes(rows: Iterable[dict[str, Any]], peers: Iterable[dict[str, Any]]) -> list[str]:
    labels = {peer["name"]: peer["label"] for peer in peers}
    lines = [f"- {row['row']}, {labels[row['peer']]}: {note(row)}." for row in rows if note(row)]
    return ["<details><summary>Notes to the cells</summary>", "\n".join(lines), "</details>"]


def note(row: dict[str, Any]) -> str:
    """What is worth saying of a cell beyond its figures."""
    parts = [row.get("note", "")]
    if row.get("refused"):
        ran = row.get("unasked", 0)
        parts.append(f"{row['refused']} enqueue calls raised, {ran} of those jobs ran all the same")
    if row.get("started_twice", 0) > row.get("twice", 0):
        parts.append(f"{row['started_twice']} jobs started more than once")
    if row.get("seconds_first") is not None:
        parts.append(f"first end after {row['seconds_first']:.1f} s")
    return "; ".join(part for part in parts if part)
