"""Writes how executions ended, in groups, on a thread of its own: a long job never delays it."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import structlog
from bson import ObjectId

from jobs import services
from jobs.claims import End
from jobs.counting import Written
from jobs.errors import StoreDown, Unstorable

log = structlog.get_logger(__name__)

GROUP = 500  # ends in one write
GROUP_BYTES = 8 * 1024 * 1024  # a MongoDB command may have 16 MB
GROUP_SECONDS = 0.02  # how long the first end of a group may wait for others
BACKLOG = 2 * GROUP  # ends that may wait before the worker stops taking jobs
COUNT_SECONDS = 0.2  # how long what is written may wait to be counted, together with more
RETRY_SECONDS = 1.0


class Recorder(threading.Thread):
    """Takes ends from any thread. `tick` is called between writes while the worker is busy.

    `tick` returns whether there is something to look after: if so it is called again within
    `GROUP_SECONDS`, if not the thread sleeps until it is woken.
    """

    def __init__(self, worker: ObjectId, tick: Callable[[], bool]) -> None:
        super().__init__(name="recorder", daemon=True)
        self._worker = worker
        self._tick = tick
        self._ends: list[End] = []
        self._write_at = 0.0  # when the first of them has waited long enough
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._room = threading.Event()
        self._closing = False
        self._uncounted: list[Written] = []
        self._count_at = 0.0  # when the first of them has waited long enough
        self._room.set()

    def add(self, end: End, *, flush: bool) -> None:
        """Take an end; `flush`: nothing else is about to end, so write it at once."""
        with self._lock:
            self._ends.append(end)
            waiting = len(self._ends)
            at_once = flush or waiting >= GROUP
            if at_once or waiting == 1:
                self._write_at = time.monotonic() + (0.0 if at_once else GROUP_SECONDS)
                self._wake.set()
            if waiting >= BACKLOG:
                self._room.clear()

    def wake(self) -> None:
        """Have `tick` called."""
        self._wake.set()

    def wait_for_room(self, seconds: float) -> bool:
        """Wait until few enough ends are unwritten; `False` if that takes longer."""
        return self._room.wait(seconds)

    def close(self) -> None:
        """Write and count what is left, then end. Returns when all is written."""
        self._closing = True
        self._wake.set()
        self.join()

    def run(self) -> None:
        busy = False
        while not (self._closing and not self._ends):
            self._wake.wait(self._pause(busy))
            self._wake.clear()
            busy = self._tick()
            if self._closing or time.monotonic() >= self._write_at:
                self._write_all()
            self._count_in_time()
        self._tick()  # it may have been told to close while it wrote
        self._count()

    def _pause(self, busy: bool) -> float | None:
        """Return how long there is nothing to do, unless it is woken; `None`: for ever."""
        due = [GROUP_SECONDS] if busy else []
        if self._ends:
            due.append(self._write_at - time.monotonic())
        if self._uncounted:
            due.append(self._count_at - time.monotonic())
        return max(min(due), 0.0) if due else None

    def _count_in_time(self) -> None:
        if time.monotonic() >= self._count_at:
            self._count()

    def _count(self) -> None:
        written, self._uncounted = self._uncounted, []
        services.count_ends(written)

    def _write_all(self) -> None:
        while group := self._next_group():
            self._write(group)
            with self._lock:
                del self._ends[: len(group)]
                if len(self._ends) < BACKLOG:
                    self._room.set()
            self._count_in_time()  # this loop may go on for as long as there is a backlog

    def _next_group(self) -> list[End]:
        group: list[End] = []
        size = 0
        for end in self._ends[:GROUP]:
            size += end.size
            if group and size > GROUP_BYTES:
                break
            group.append(end)
        return group

    def _write(self, group: list[End]) -> None:
        """Write until it is written: an end is never dropped while this process lives."""
        while True:
            try:
                self._record(group)
                return
            except StoreDown as error:
                log.warning("record.waiting", jobs=len(group), error=str(error)[:200])
                time.sleep(RETRY_SECONDS * random.uniform(0.5, 1))  # noqa: S311 - spreads load
            except Unstorable as error:
                self._write_apart(group, error)
                return

    def _write_apart(self, group: list[End], error: Unstorable) -> None:
        """Write each alone, so that only the one MongoDB cannot hold goes without its data."""
        if len(group) == 1:
            group = [replace(group[0], result=None, result_error=str(error), traceback="", logs=())]
            self._record(group)
            return
        for end in group:
            self._write([end])

    def _record(self, group: list[End]) -> None:
        if not self._uncounted:
            self._count_at = time.monotonic() + COUNT_SECONDS
        services.record(self._worker, group, self._uncounted)
        if sum(written.ends for written in self._uncounted) >= GROUP:
            self._count_at = 0.0  # reading the totals would cost more
