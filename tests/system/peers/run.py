"""`python -m tests.system.peers.run`: do the rows to the queues and write .chaos/peers.json.

Each queue runs in a process of its own, a few at once: their jobs sleep, and most of a run is
waiting for a lease to end. `--parallel 1` runs them one after another.
"""

import argparse
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from taskqueue.embedded import die_with_parent
from tests.system.peers import report
from tests.system.peers.drivers import DRIVERS
from tests.system.peers.drivers.base import PEERS, ROOT
from tests.system.peers.faults import ROWS, Row, run_row

OUTPUT = ROOT / ".chaos" / "peers.json"
DESCRIBED = ("name", "label", "configuration", "why", "lease", "patience")
STOP_SECONDS = 60
STOPS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    for number in STOPS:
        signal.signal(number, _stop)
    if any(name != "ours" for name in options.peers) and not (PEERS / ".ready").exists():
        raise SystemExit("The peers are not installed: run `make peers`.")
    alone = len(options.peers) == 1
    rows = run_peer(options, options.peers[0]) if alone else run_peers(options)
    results = described(options.peers, rows, options.quick)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    if not options.part:
        print(report.render(results))


def _stop(number: int, _: object) -> None:
    """Leave through every `finally`, which a second signal must not cut short."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=_some([row.number for row in ROWS]), default="")
    parser.add_argument("--peers", type=_some(list(DRIVERS)), default="")
    parser.add_argument("--quick", action="store_true", help="few jobs, few faults: a rehearsal")
    parser.add_argument("--parallel", type=int, default=3, help="queues at once (3)")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--work", type=Path, help="ledgers and logs (beside the output)")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.output = options.output.resolve()
    options.work = (options.work or options.output.with_suffix("")).resolve()
    return options


def _some(known: list[str]) -> Any:
    def chosen(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := [name for name in names if not _of(name, known)]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: use {', '.join(known)}.")
        return [name for name in known if not names or any(name in _of(n, known) for n in names)]

    return chosen


def _of(name: str, known: list[str]) -> list[str]:
    """A name itself, or all of its variants: "15" is "15w" and "15e"."""
    return [each for each in known if each == name or each.rstrip("we") == name]


def run_peer(options: argparse.Namespace, peer: str) -> list[dict[str, Any]]:
    """Do the rows to one queue, in this process, one after another."""
    results = []
    for row in ROWS:
        if row.number in options.rows:
            started = time.monotonic()
            results.append(_attempt(row, peer, options))
            took = time.monotonic() - started
            cell, note = report.cell(results[-1]), report.note(results[-1])
            print(f"{peer:16} {row.number:>3}  {cell}  [{note}] ({took:.0f} s)", flush=True)
    return results


def _attempt(row: Row, peer: str, options: argparse.Namespace) -> dict[str, Any]:
    folder = options.work / peer / row.number
    try:
        return run_row(row, DRIVERS[peer], folder, options.quick)
    except Exception as error:  # the other rows are still worth having
        traceback.print_exc()
        note = f"{type(error).__name__}: {error}"
        return {"row": row.number, "peer": peer, "accepted": None, "note": note}


def run_peers(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run each queue in a process of its own, `--parallel` at once."""
    waiting, running = list(options.peers), dict[str, subprocess.Popen[bytes]]()
    try:
        while waiting or running:
            while waiting and len(running) < options.parallel:
                peer = waiting.pop(0)
                running[peer] = _start(peer, options)
            for peer in [name for name, process in running.items() if process.poll() is not None]:
                running.pop(peer)
            time.sleep(0.2)
    finally:
        _end(running.values())
    return [row for peer in options.peers for row in _part_rows(options, peer)]


def _start(peer: str, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    part = _part(options, peer)
    part.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.system.peers.run", "--part", "--peers", peer]
    command += ["--rows", ",".join(options.rows), "--output", str(part)]
    command += ["--work", str(options.work)]
    return subprocess.Popen(
        command + ["--quick"] * options.quick,
        cwd=ROOT,
        start_new_session=True,  # Ctrl-C reaches this process, which ends them in order
        preexec_fn=functools.partial(die_with_parent, os.getpid()),
    )


def _end(processes: Any) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)


def _part(options: argparse.Namespace, peer: str) -> Path:
    part: Path = options.work / peer / "part.json"
    return part


def _part_rows(options: argparse.Namespace, peer: str) -> list[dict[str, Any]]:
    part = _part(options, peer)
    return json.loads(part.read_text())["rows"] if part.exists() else []


def described(peers: list[str], rows: list[dict[str, Any]], quick: bool) -> dict[str, Any]:
    """The whole of the file that `report.render` reads."""
    drivers = [DRIVERS[peer] for peer in peers]
    return {
        "quick": quick,
        "versions": {driver.name: driver.version() for driver in drivers},
        "configurations": [
            {name: value for name, value in asdict(driver).items() if name in DESCRIBED}
            for driver in drivers
        ],
        "titles": {row.number: row.title for row in ROWS},
        "rows": rows,
    }


if __name__ == "__main__":
    main()
