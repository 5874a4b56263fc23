"""What really ran: every execution writes its start and its end to a file outside both stores.

One line, one `write` to a file opened for appending: lines of processes that are killed at any
instant are whole or absent. Times are CLOCK_MONOTONIC, the same for all processes of a machine.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import Context


def write(ctx: Context, event: str) -> None:
    """Append one event of this execution: start, end or fail."""
    entry = {
        "job": ctx.job_id,
        "attempt": ctx.attempt,
        "claim": ctx.claim,
        "pid": os.getpid(),
        "event": event,
        "at": time.monotonic(),
    }
    file = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, json.dumps(entry).encode() + b"\n")
    finally:
        os.close(file)


@dataclass
class Execution:
    """One execution of a job, as its process saw it. `ended` None: it never came to its end."""

    job: str
    claim: int
    pid: int
    started: float
    ended: float | None = None
    failed: bool = False


class Ledger:
    """Reads what the executions wrote; each line once, however often it is asked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._read = 0  # bytes
        self._found: list[Execution] = []
        self._open: dict[tuple[str, int, int], Execution] = {}

    def executions(self) -> list[Execution]:
        """Return all executions so far, in the order in which their starts were written."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # it is being written
                    break
                self._read += len(line)
                self._note(json.loads(line))
        return self._found

    def _note(self, entry: dict[str, Any]) -> None:
        key = (entry["job"], entry["claim"], entry["pid"])
        if entry["event"] == "start":
            self._open[key] = Execution(*key, entry["at"])
            self._found.append(self._open[key])
        else:
            execution = self._open.pop(key)
            execution.ended, execution.failed = entry["at"], entry["event"] == "fail"

    def running(self) -> list[Execution]:
        """Return the executions that have not ended; those of dead processes among them."""
        self.executions()
        return list(self._open.values())

    def by_job(self) -> dict[str, list[Execution]]:
        """Return the executions of each job, in the order of their starts."""
        grouped = defaultdict(list)
        for execution in self.executions():
            grouped[execution.job].append(execution)
        return grouped

    def first_start_after(self, moment: float) -> float | None:
        """Return when the first execution after a moment began; `None`: there is none."""
        return min((e.started for e in self.executions() if e.started > moment), default=None)


def overlaps(executions: Iterable[Execution]) -> int:
    """Return how many executions of one job began while another was running to its end."""
    ended = [e for e in executions if e.ended is not None]
    return sum(
        any(o.started < e.started < (o.ended or 0) for o in ended if o is not e) for e in executions
    )
