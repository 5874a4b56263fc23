"""How the workers are doing, read from the board and from /proc: said with each heartbeat."""

from typing import Any

import psutil
from bson import ObjectId

from workers.board import Board


class Vitals:
    """Remembers each process since the last reading: its share of a core is of the time between."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._known: dict[int, psutil.Process] = {}

    def read(self) -> dict[ObjectId, dict[str, Any]]:
        """Return what is known of each boot, by its id."""
        found = {}
        pids = set()
        for worker in range(self._board.workers):
            boot, pid = self._board.boot(worker), self._board.pid(worker)
            if boot:
                done, failed = self._board.ended(worker)
                said = {"quiet": self._board.quiet, "done": done, "failed": failed}
                found[boot] = {**said, **self._of_process(pid)}
                pids.add(pid)
        self._known = {pid: process for pid, process in self._known.items() if pid in pids}
        return found

    def _of_process(self, pid: int) -> dict[str, Any]:
        """Return memory and share of a core, this one from the second reading on."""
        try:
            known = self._known.get(pid)
            process = self._known[pid] = known or psutil.Process(pid)
            percent, rss = process.cpu_percent(), process.memory_info().rss
        except psutil.Error:  # it has just died
            return {"rss_bytes": None, "cpu_percent": None}
        return {"rss_bytes": rss, "cpu_percent": percent if known else None}
