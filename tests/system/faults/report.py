"""docs/reliability.md, written from what `make chaos`, `make soak` and `make peers` have counted.

`python -m tests.system.faults.report` writes it; it invents nothing: a row that did not run is
said not to have run.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
CHAOS = ROOT / ".chaos"
DOCUMENT = ROOT / "docs" / "reliability.md"
ROWS = range(1, 35)
COUNTS = ("jobs", "executions", "twice", "refused")
Run = dict[str, Any]

HEAD = """# Reliability

*Written by `make chaos` from what it has counted; do not edit.*

A job that was accepted is not lost, and reaches exactly one end. This page is how that is
known: faults are injected into real processes on one machine (real `mongod`, alone or as a
replica set of three, real `redis-server`, real `runworkers`), and the result is counted from
outside, from a ledger file to which every execution writes its start and its end.

Promised is *at least once*: a function may run twice when its process dies at the wrong moment,
and is told so (`ctx.idempotency_key`, `ctx.claim`). *Twice* below counts such second executions
that came to their end; *refused* counts the ends that were not accepted, because their claim
was over.

Invariants: **L** nothing accepted is lost, all of it ends in time; **P** what is completed has
an end in the ledger, under that claim; **1** one accepted end per claim; **O** executions of
one job overlap only where the fault allows it; **A** attempts and crashes within budget; **B**
backoff kept; **S** it settles: lanes empty, nothing running, no orphan process; **C** the
counters shown equal MongoDB's.

So that rows take seconds, workers are lost here after 6 s of silence instead of 30, unless a
row says otherwise. A *control* takes a guard away and passes when the harness notices.
"""


PEERS = """
## The same faults on other queues

By the same kind of harness (`make peers`), three worker processes each, jobs of 50 to 200 ms. Where
Redis is the store of a queue, losing Redis is losing the jobs: rows 12 and 13 say no more than
that. Each queue is used as its own documentation advises, with what it has for reliability on.
"""


def render(runs: list[Run], soak: Run | None, peers: str) -> str:
    """Return the document."""
    parts = [HEAD, _verdict(runs), _table(runs), _figures(runs)]
    parts += [_soak(soak)] if soak else []
    parts += [f"{PEERS}\n{peers}"] if peers else []
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _verdict(runs: list[Run]) -> str:
    real = [run for run in runs if not run["control"]]
    passed = [run for run in real if run["result"] == "passed"]
    controls = [run for run in runs if run["control"]]
    noticed = sum(run["result"] == "passed" for run in controls)
    jobs = sum(run["figures"].get("jobs", 0) for run in passed)
    rows = {run["number"] for run in real}
    seeds = ", ".join(str(seed) for seed in sorted({run["seed"] for run in runs}))
    text = (
        f"\n## Last run\n\n{len(rows)} of {len(ROWS)} rows, seeds {seeds}: {len(passed)} of "
        f"{len(real)} runs passed, with {jobs:,} jobs: 0 lost, 0 ended twice. {noticed} of "
        f"{len(controls)} controls were noticed."
    )
    again = [str(run["number"]) for run in runs if run.get("failed_first")]
    if again:
        text += (
            f" {len(again)} of these runs had failed before and were repeated with the same seed: "
            f"rows {', '.join(sorted(again, key=int))}."
        )
    missing = ", ".join(str(row) for row in ROWS if row not in rows)
    return text + (f" Not run: {missing}." if missing else "")


def _table(runs: list[Run]) -> str:
    lines = [
        "\n| # | Fault | Injected | Invariants | Result | Jobs | Runs | Twice | Refused | s |",
        "|--:|---|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for (number, _), of in _grouped(runs):
        first = of[0]
        counts = [sum(run["figures"].get(name, 0) for run in of) for name in COUNTS]
        cells = [
            f"{number}{' control' if first['control'] else ''}",
            first["fault"],
            first["injected"],
            first["invariants"],
            _result(of),
            *(f"{count:,}" for count in counts),
            f"{max(run['seconds'] for run in of):.0f}",
        ]
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines)


def _grouped(runs: list[Run]) -> Iterable[tuple[tuple[int, str], list[Run]]]:
    grouped = defaultdict(list)
    for run in runs:
        grouped[run["number"], run["test"]].append(run)
    return sorted(grouped.items(), key=lambda row: (row[0][0], row[1][0]["control"]))


def _result(of: list[Run]) -> str:
    passed = sum(run["result"] == "passed" for run in of)
    word = "noticed" if of[0]["control"] else "held"
    return f"{word} {passed}/{len(of)}" if passed == len(of) else f"**{passed}/{len(of)}**"


def _figures(runs: list[Run]) -> str:
    lines = ["\n## Figures\n\nOf each row, by seed.\n"]
    for (number, _), of in _grouped(runs):
        names = dict.fromkeys(name for run in of for name in run["figures"] if name not in COUNTS)
        for name in names:
            values = [_plain(run["figures"].get(name, "-")) for run in of]
            lines.append(f"- {number}, {of[0]['fault']}: {name}: {', '.join(values)}")
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {number}" for name, number in value.items())
    return f"{len(value)} of them" if isinstance(value, list) else str(value)


def _soak(soak: Run) -> str:
    faults = ", ".join(f"{count} x {name}" for name, count in soak["faults"].items())
    explained = "; ".join(f"{count:,} {why}" for why, count in soak["twice"].items())
    return (
        f"\n## Soak\n\n{soak['jobs']:,} jobs were accepted and ended in {soak['minutes']:.1f} "
        f"minutes, seed {soak['seed']}, under {sum(soak['faults'].values())} faults: {faults}. "
        f"Lost: {soak['lost']}. Executions: {soak['executions']:,}. "
        f"Second executions: {explained or 0}. "
        f"Ends refused: {soak['refused']:,}. Enqueues answered with an error: {soak['errors']:,}."
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def latest(path: Path) -> list[Run]:
    """Return the last run of each row, test and seed; `failed_first`: an earlier one had failed."""
    lines = path.read_text().splitlines() if path.exists() else []
    runs: dict[tuple[int, str, int], Run] = {}
    for run in map(json.loads, lines):
        key = (run["number"], run["test"], run["seed"])
        before = runs.get(key, {"result": "passed"})
        again = before.get("failed_first", False) or before["result"] != "passed"
        runs[key] = {**run, "failed_first": again}
    return list(runs.values())


def main() -> None:
    soak = CHAOS / "soak.json"
    peers = CHAOS / "peers.json"
    text = render(
        latest(CHAOS / "rows.jsonl"),
        json.loads(soak.read_text()) if soak.exists() else None,
        _peers(peers) if peers.exists() else "",
    )
    DOCUMENT.write_text(text)
    print(f"{DOCUMENT.relative_to(ROOT)} is written.")


def _peers(path: Path) -> str:
    from tests.system.peers import report

    return report.render(json.loads(path.read_text()))


if __name__ == "__main__":
    main()
