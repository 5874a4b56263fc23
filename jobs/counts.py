"""How many jobs there are in each state and lane: counted once a second for all who show it.

Web processes share what one of them has counted, in Redis; without it each counts for itself.
"""

import base64
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import bson
from bson import ObjectId
from bson.errors import BSONError
from django.conf import settings

from jobs import counting, locks, mongodb, outages, repository
from jobs.clients import AWARE, Document, redis
from jobs.registry import PRIORITIES, Lane
from jobs.states import State

SHARED_SECONDS = 1.0  # viewers within that time share one set of counts
COUNT_SECONDS = 5.0  # for which others show what they have while one counts


@dataclass(frozen=True)
class LaneDepth:
    """How many jobs wait in a lane, and since when the oldest of them does."""

    lane: Lane
    depth: int
    oldest: datetime | None
    paused: bool
    oldest_id: ObjectId | None


@dataclass(frozen=True)
class Stats:
    """The queue's state at one moment, by MongoDB's clock."""

    at: datetime  # not later than what was counted
    total: int
    by_status: dict[str, int]
    by_queue: dict[str, dict[str, int]]  # of queues that have ever had a job, by state
    lanes: list[LaneDepth]
    held: Mapping[str, int]  # how many jobs each worker holds, by its id


class _Latest:
    """The last counts that this process has."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stats: Stats | None = None
        self.until = float("-inf")
        self.forgotten = 0  # how often somebody wanted others
        self.counted_at = 0  # what that was when this process counted last

    def take(self, stats: Stats, seconds: float, forgotten: int) -> bool:
        """Keep counts, unless somebody has wanted others since they were begun."""
        with self.lock:
            if forgotten != self.forgotten:
                return False
            self.stats, self.until = stats, time.monotonic() + seconds
            return True


_latest = _Latest()


def stats() -> Stats:
    """Return the counts of jobs by state and by lane, at most a second old, if MongoDB is quick.

    They cost the same however many jobs there are: see `jobs.tallies`. Raises `StoreDown`.
    """
    now, latest, forgotten = time.monotonic(), _latest, _latest.forgotten
    if latest.stats and now <= latest.until:
        return latest.stats
    # After `forget`, what others have may be from before what is looked for.
    if latest.counted_at == forgotten:
        if found := _shared(forgotten):
            return found
        if latest.stats and now < latest.until + COUNT_SECONDS and not _begin():
            return latest.stats  # somebody is counting
    return _counted(forgotten)


def forget() -> None:
    """Have the next `stats` count anew: a person who just acted wants to see it."""
    with _latest.lock:
        _latest.forgotten += 1
        _latest.until = float("-inf")


def _counted(forgotten: int) -> Stats:
    """Count, and share that with the other processes."""
    started = time.monotonic()
    found = _count()
    # A busy MongoDB takes longer to answer: never ask it for more than a fifth of the time.
    seconds = max(SHARED_SECONDS, 4 * (time.monotonic() - started))
    _latest.counted_at = forgotten
    if _latest.take(found, seconds, forgotten):
        _share(found, seconds)
    return found


def _key() -> str:
    """STRING: the last counts, for as long as they are good."""
    return f"{settings.REDIS_PREFIX}:counts"


def _counting_key() -> str:
    """STRING: somebody counts."""
    return f"{settings.REDIS_PREFIX}:counts:counting"


def _begin() -> bool:
    """Return whether to count: `False` while somebody else does."""
    return locks.take(_counting_key(), COUNT_SECONDS)


def _share(found: Stats, seconds: float) -> None:
    lanes = [{**vars(depth), "lane": list(depth.lane)} for depth in found.lanes]
    said = base64.b64encode(bson.encode({**vars(found), "lanes": lanes})).decode()
    try:
        with outages.redis.asked(), redis().pipeline() as told:
            told.set(_key(), said, px=round(seconds * 1000))
            told.delete(_counting_key())
            told.execute()
    except outages.NO_REDIS:
        pass  # the others count for themselves


def _shared(forgotten: int) -> Stats | None:
    """Take what another process has counted; `None`: nothing that is good, and newer."""
    try:
        with outages.redis.asked(), redis().pipeline() as asked:
            asked.get(_key())
            asked.pttl(_key())
            said, milliseconds = asked.execute()
    except outages.NO_REDIS:
        return None
    if not said or milliseconds <= 0:
        return None
    try:
        found = _read(bson.decode(base64.b64decode(said), AWARE))
        if _latest.stats and found.at <= _latest.stats.at:
            return None
    except (BSONError, ValueError, TypeError, KeyError):  # of another version of this program
        return None
    return found if _latest.take(found, milliseconds / 1000, forgotten) else None


def _read(said: Document) -> Stats:
    lanes = [LaneDepth(**{**depth, "lane": Lane(*depth["lane"])}) for depth in said["lanes"]]
    found = Stats(**{**said, "lanes": lanes})
    if set(found.by_status) != set(State):
        raise ValueError("other states")
    return found


def _count() -> Stats:
    at = mongodb.now()
    totals = counting.totals()
    by_status = {state.value: totals.by_status[state] for state in State}
    lanes = _lane_depths(totals.pending)
    total = sum(by_status.values())
    return Stats(at, total, by_status, totals.by_queue, lanes, totals.held)


def _lane_depths(pending: Mapping[Lane, int]) -> list[LaneDepth]:
    """Every lane of every known queue, in the order in which each queue is served."""
    paused = repository.queues()
    names = sorted({*paused, *(lane.queue for lane in pending)})
    oldest = repository.oldest(list(pending))
    return [
        LaneDepth(
            lane,
            pending.get(lane, 0),
            oldest[lane][1] if lane in oldest else None,
            paused.get(lane.queue, False),
            oldest[lane][0] if lane in oldest else None,
        )
        for queue in names
        for lane in (Lane(queue, priority) for priority in PRIORITIES)
    ]
