"""A real limit on memory: the kernel kills what outgrows it, as it does when a machine is full."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.system.faults.stores import wait_until

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class MemoryLimit:
    """A control group of its own. Whatever a process in it forks is in it too."""

    def __init__(self, megabytes: int) -> None:
        """Make it. Raises `OSError` where this user or this machine has none."""
        old = (V1 / "memory.limit_in_bytes").exists()
        if not old:
            (V2 / "cgroup.subtree_control").write_text("+memory")
        self._events = "memory.oom_control" if old else "memory.events"
        self._group = (V1 if old else V2) / f"taskqueue-{os.getpid()}"
        self._group.mkdir()
        limit = "memory.limit_in_bytes" if old else "memory.max"
        (self._group / limit).write_text(str(megabytes * 1024 * 1024))

    def add(self, pid: int) -> None:
        (self._group / "cgroup.procs").write_text(str(pid))

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed here."""
        lines = (self._group / self._events).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def close(self) -> None:
        """Remove it, once its processes are gone (which may go on outside of it)."""
        for pid in (self._group / "cgroup.procs").read_text().split():
            (self._group.parent / "cgroup.procs").write_text(pid)
        wait_until(self._removed, 10, "the control group is removed")

    def _removed(self) -> bool:
        try:
            self._group.rmdir()
        except OSError:
            return False
        return True


@contextmanager
def memory_limit(megabytes: int) -> Iterator[MemoryLimit]:
    """Have a limit for the length of a block. Raises `OSError` where there can be none."""
    limit = MemoryLimit(megabytes)
    try:
        yield limit
    finally:
        limit.close()
