"""What a job does, in every queue written in Python, and the clock beside it.

Each thread writes how many jobs it has ended, when its first began and its last ended, into memory
that the runner shares: 0.3 µs a job, and no queue's own books are needed. Imports nothing that
only one of the queues has.
"""

import asyncio
import itertools
import mmap
import os
import struct
import threading
import time
from functools import cache
from pathlib import Path

FOLDER = Path(os.environ.get("BENCH_FOLDER", "."))
GATED = os.environ.get("BENCH_GATED") == "1"
CELLS = 4
ENDED, FIRST, LAST, AT_GATE = range(CELLS)
RECORD = struct.Struct(f"={CELLS}d")  # the same in Node and Ruby
SLOTS = 256  # threads in one process
SLOW_EVERY, SLOW_PLACE, SLOW_SECONDS = 100, 70, 2.0  # which of `mixed` take long, and how

_here = threading.local()
_keep = False


class _Process:
    """This process's own file."""

    def __init__(self) -> None:
        path = FOLDER / f"{os.getpid()}.meter"
        self.cells = _shared(path, SLOTS * RECORD.size).cast("d")
        self.slots = itertools.count()

    def slot(self) -> "memoryview[float]":
        start = next(self.slots) * CELLS
        return self.cells[start : start + CELLS]


@cache
def _process() -> _Process:
    return _Process()


@cache
def _stamps() -> "memoryview[int]":
    path = FOLDER / "stamps"
    return _shared(path, path.stat().st_size).cast("q")


def _shared(path: Path, size: int) -> "memoryview[int]":
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(file).st_size < size:
            os.ftruncate(file, size)
        return memoryview(mmap.mmap(file, size))
    finally:
        os.close(file)


def _forget() -> None:
    global _here
    if not _keep:
        _here = threading.local()
        _process.cache_clear()


os.register_at_fork(after_in_child=_forget)


def keep_across_forks() -> None:
    """Count a child's jobs as this process's: for queues that fork for every job."""
    global _keep
    _process()
    _keep = True


def started() -> "memoryview[float]":
    """Return this thread's cells; its first job waits here until every process has one."""
    try:
        cells: memoryview[float] = _here.cells
    except AttributeError:
        cells = _enter()
    return cells


def _enter() -> "memoryview[float]":
    cells = _process().slot()
    cells[AT_GATE] = 1.0
    while GATED and not (FOLDER / "go").exists():
        time.sleep(0.002)
    cells[FIRST] = cells[FIRST] or time.monotonic()
    _here.cells = cells
    return cells


def ended(cells: "memoryview[float]") -> None:
    cells[ENDED] += 1.0
    cells[LAST] = time.monotonic()


def noop() -> None:
    """Do nothing."""
    ended(started())


def result() -> dict[str, bool]:
    """Do nothing, and say so."""
    ended(started())
    return {"ok": True}


def sleep(seconds: float) -> None:
    """Wait, as for an answer."""
    cells = started()
    time.sleep(seconds)
    ended(cells)


def stamp(n: int) -> None:
    """Note when this job began."""
    _stamps()[n] = time.monotonic_ns()


def is_slow(n: int) -> bool:
    return n % SLOW_EVERY == SLOW_PLACE


def mixed(n: int) -> None:
    """Note when this job began; one in a hundred takes long."""
    stamp(n)
    if is_slow(n):
        time.sleep(SLOW_SECONDS)


def swallow(text: str) -> None:
    """Do nothing with a payload of any size."""
    ended(started())


async def sleep_async(seconds: float) -> None:
    """As `sleep`, on an event loop."""
    cells = started()
    await asyncio.sleep(seconds)
    ended(cells)


async def mixed_async(n: int) -> None:
    """As `mixed`, on an event loop."""
    stamp(n)
    if is_slow(n):
        await asyncio.sleep(SLOW_SECONDS)
