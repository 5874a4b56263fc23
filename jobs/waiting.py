"""Waiting until jobs end: one thread a process asks for all that are waited for, in one question.

Each waiter holds a thread of its web server, so there is room for few: who comes later is told at
once that there was none.
"""

import threading
import time
from collections import defaultdict
from typing import Literal

import structlog
from bson import ObjectId

from jobs import repository
from jobs.errors import StoreDown

log = structlog.get_logger(__name__)

ASK_SECONDS = 0.25
Outcome = Literal["ended", "timed_out", "full"]


class Watcher:
    """Asks MongoDB while anybody waits, and wakes those whose job has ended or is gone."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._lock = threading.Lock()
        self._waiting: dict[ObjectId, list[threading.Event]] = defaultdict(list)
        self._waiters = 0
        self._asking = False

    def wait(self, id: ObjectId, seconds: float) -> Outcome:
        """Wait for that long at most until the job has ended."""
        ended = threading.Event()
        with self._lock:
            if self._waiters >= self.room:
                return "full"
            self._waiters += 1
            self._waiting[id].append(ended)
            if not self._asking:
                self._asking = True
                threading.Thread(target=self._ask, name="watcher", daemon=True).start()
        try:
            return "ended" if ended.wait(seconds) else "timed_out"
        finally:
            self._leave(id, ended)

    def _leave(self, id: ObjectId, ended: threading.Event) -> None:
        with self._lock:
            self._waiters -= 1
            self._waiting[id].remove(ended)
            if not self._waiting[id]:
                del self._waiting[id]

    def _ask(self) -> None:
        while ids := self._ids():
            try:
                self._wake(set(ids) - repository.unended(ids))
            except StoreDown as error:  # they wait on; their own question meets the same
                log.warning("watcher.waiting", error=str(error)[:200])
            time.sleep(ASK_SECONDS)

    def _ids(self) -> list[ObjectId]:
        with self._lock:
            self._asking = bool(self._waiting)
            return list(self._waiting)

    def _wake(self, ended: set[ObjectId]) -> None:
        with self._lock:
            for id in ended:
                for waiter in self._waiting.get(id, ()):
                    waiter.set()
