"""What the jobs themselves wrote down, outside of any queue: one JSON line a start and an end.

Imported by the jobs of every Python peer, so it needs the standard library only.
"""

import json
import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

LEDGER = "FAULT_LEDGER"
SHORTEST, SPREAD = 0.05, 0.15  # seconds


def perform(job: int) -> None:
    """Do the job: note the start, take 50 to 200 ms by the job's number, note the end."""
    write(job, "start")
    time.sleep(seconds_of(job))
    write(job, "end")


def seconds_of(job: int) -> float:
    """How long this job takes; the same in every language (apps/bullmq_worker.cjs has it too)."""
    return SHORTEST + SPREAD * (job * 37 % 151) / 150


def write(job: int, event: str) -> None:
    entry = {"job": job, "event": event, "pid": os.getpid(), "at": time.monotonic()}
    file = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{json.dumps(entry)}\n".encode())
    finally:
        os.close(file)


@dataclass(frozen=True)
class Entry:
    job: int
    event: str
    pid: int
    at: float


@dataclass
class Ledger:
    """The file as read so far; `read` takes in what has been added since."""

    path: Path
    entries: list[Entry] = field(default_factory=list)
    _offset: int = 0

    def read(self) -> list[Entry]:
        """Take in the new lines and return them."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        new = [Entry(**json.loads(line)) for line in whole.splitlines()]
        self.entries += new
        return new

    def ended(self) -> set[int]:
        """The jobs that have ended at least once."""
        return {entry.job for entry in self.entries if entry.event == "end"}

    def times(self, event: str) -> dict[int, list[float]]:
        """When each job started, or ended, in order."""
        times: dict[int, list[float]] = defaultdict(list)
        for entry in self.entries:
            if entry.event == event:
                times[entry.job].append(entry.at)
        return times

    def first_end(self, since: float) -> float | None:
        """When the first execution that had started after that time ended."""
        started = {(e.job, e.pid) for e in self.entries if e.event == "start" and e.at > since}
        ends = [e.at for e in self.entries if e.event == "end" and (e.job, e.pid) in started]
        return min(ends, default=None)

    def open(self) -> list[Entry]:
        """The starts that no end in the same process has followed."""
        running: dict[tuple[int, int], Entry] = {}
        for entry in self.entries:
            if entry.event == "start":
                running[entry.job, entry.pid] = entry
            else:
                running.pop((entry.job, entry.pid), None)
        return list(running.values())
