"""Named places where a fault test may kill a process: `CRASH_AT=claim.written:3`, the third time.

Nothing in the code knows of them. Where the variable is set, the function beside a point is
replaced by one that counts and kills; where it is not, this module is never imported.
"""

import os
import signal
from collections.abc import Callable
from functools import wraps
from typing import Any

from jobs import counting, lanes, repository
from workers import worker

# What has just happened (or, with "before", is about to) → the function that does it.
POINTS: dict[str, tuple[Any, str]] = {
    "insert.before": (repository, "insert"),
    "insert.written": (repository, "insert"),
    "push.sent": (lanes, "push"),
    "fetch.taken": (lanes, "fetch"),
    "claim.one_written": (repository, "_claim_one"),
    "claim.written": (repository, "_claim_once"),
    "claim.returned": (repository, "claim"),
    "execute.before": (worker, "execute"),
    "execute.ended": (worker, "execute"),
    "record.before": (repository, "record"),
    "count.before": (counting, "close_receipts"),  # the ends are written
    "count.written": (counting, "close_receipts"),  # in a transaction that never ends
    "record.written": (repository, "record"),
    "give_back.written": (repository, "give_back"),
    "push_at_head.before": (lanes, "push_at_head"),
    "promote.written": (repository, "promote"),
    "requeue.written": (repository, "requeue"),
    "cancel.written": (repository, "cancel"),
    "repair.found": (repository, "oldest_pending"),
    "bury.found": (repository, "find_held"),
    "reap.found": (repository, "held_by"),
    "register.written": (repository, "register_worker"),
    "end_worker.written": (repository, "end_worker"),
    "heartbeat.written": (repository, "heartbeat"),
}


def install(crash_at: str) -> None:
    """Kill this process (SIGKILL) when it comes to a point for the n-th time: `point:n`.

    Raises `ValueError` for a point that is not in `POINTS`, or an n that is no number from 1.
    """
    point, _, times = crash_at.partition(":")
    if point not in POINTS or not times.isdecimal() or int(times) < 1:
        raise ValueError(f"CRASH_AT={crash_at!r}: use point:n with one of {', '.join(POINTS)}.")
    place, name = POINTS[point]
    setattr(place, name, _lethal(getattr(place, name), int(times), point.endswith(".before")))


def _lethal(function: Callable[..., Any], times: int, before: bool) -> Callable[..., Any]:
    left = [times]  # a list, so that each forked process counts for itself

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if before:
            count()
        answer = function(*args, **kwargs)
        if not before:
            count()
        return answer

    return wrapper
