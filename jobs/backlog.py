"""How far behind each queue is: depth, age of the oldest against its target, rates, when empty."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId
from django.conf import settings

from jobs import counting, counts, fleet, selectors, series
from jobs.counts import LaneDepth, Stats
from jobs.fleet import Host
from jobs.models import Queue
from jobs.registry import Lane
from jobs.series import Sample
from jobs.states import State

RATE_MINUTES = 5
TARGET_SECONDS = 60.0  # of a queue that QUEUE_TARGETS does not name


@dataclass(frozen=True)
class LaneState:
    """One lane. `late`: its oldest job has waited longer than it should, and it is not paused."""

    lane: Lane
    depth: int
    oldest: datetime | None
    oldest_id: ObjectId | None
    paused: bool
    target: float  # seconds
    late: bool
    share: float  # of the target that the age has used up; 0: nothing waits

    @property
    def percent(self) -> int:
        """The share as it is drawn, in steps: a page that looks the same is not sent again."""
        return min(-(-round(100 * self.share) // 10) * 10, 100)


@dataclass(frozen=True)
class Drain:
    """What a queue is doing. `seconds` until it is empty; `None`: it does not shrink."""

    seconds: float | None
    per_minute: float  # by how much it shrinks
    minutes: float  # over which that was seen


@dataclass(frozen=True)
class QueueState:
    """One queue as an operator sees it. Rates are jobs a minute, over the last whole minutes."""

    queue: Queue
    lanes: list[LaneState]
    by_status: dict[str, int]
    accepted: float
    ended: float
    drain: Drain | None  # None: nothing waits, or nobody has looked for long enough
    hosts: list[Host]  # with the live workers that serve it

    @property
    def waiting(self) -> int:
        return sum(lane.depth for lane in self.lanes)

    @property
    def oldest(self) -> LaneState | None:
        """The lane whose first job has waited longest."""
        waits = [(lane.oldest, place) for place, lane in enumerate(self.lanes) if lane.oldest]
        return self.lanes[min(waits)[1]] if waits else None

    @property
    def live(self) -> int:
        """How many live workers serve it."""
        return sum(host.live for host in self.hosts)

    @property
    def quiet(self) -> int:
        """How many of these take no new job."""
        return sum(host.quiet for host in self.hosts)

    @property
    def unserved(self) -> bool:
        """Whether jobs wait that no live worker will take: there is none, or all are quiet."""
        return self.waiting > 0 and self.live == self.quiet


def target_seconds(lane: Lane) -> float:
    """Return how long a job of this lane may wait, as QUEUE_TARGETS says."""
    of_queue: dict[str, float] = settings.QUEUE_TARGETS.get(lane.queue, {})
    return of_queue.get(lane.priority) or of_queue.get("") or TARGET_SECONDS


def lanes(stats: Stats) -> list[LaneState]:
    """Return every lane with its target, in the order in which each queue is served."""
    return [_lane(lane, stats.at) for lane in stats.lanes]


def _lane(found: LaneDepth, now: datetime) -> LaneState:
    target = target_seconds(found.lane)
    age = max((now - found.oldest).total_seconds(), 0.0) if found.oldest else 0.0
    late = age > target and not found.paused
    return LaneState(**vars(found), target=target, late=late, share=age / target)


@dataclass(frozen=True)
class Backlog:
    """All queues, by name, and what was read to judge them."""

    stats: Stats
    samples: list[Sample]
    hosts: list[Host]
    queues: list[QueueState]


def read() -> Backlog:
    """Return how far behind every queue is."""
    return _read(selectors.queues())


def queue(name: str) -> QueueState:
    """Return how far behind a queue is. Raises `NotFound`."""
    return _read([selectors.queue(name)]).queues[0]


def _read(known: Sequence[Queue]) -> Backlog:
    stats, past = counts.stats(), series.recent_samples()
    groups = fleet.groups(stats.held)
    live = [group for group in groups if group.live]
    rates = counting.rates([queue.name for queue in known], RATE_MINUTES)
    every = lanes(stats)
    queues = [
        QueueState(
            queue,
            [lane for lane in every if lane.lane.queue == queue.name],
            stats.by_queue.get(queue.name) or {state.value: 0 for state in State},
            *rates.get(queue.name, (0.0, 0.0)),
            drain(
                [(sample.at, sample.pending.get(queue.name, 0)) for sample in past],
                stats.at,
                stats.by_queue.get(queue.name, {}).get(State.PENDING, 0),
            ),
            fleet.hosts(group for group in live if queue.name in group.queues),
        )
        for queue in known
    ]
    return Backlog(stats, past, fleet.hosts(groups), queues)


def drain(past: Sequence[tuple[datetime, int]], now: datetime, pending: int) -> Drain | None:
    """Return when a queue will be empty, if it goes on to shrink as it does since its last peak.

    Since the peak, because a burst that ended says nothing of how fast it is worked off. `None`:
    nothing waits, or there is nothing to compare with.
    """
    earlier = [(jobs, at) for at, jobs in past if (now - at).total_seconds() >= 1]
    if not pending or not earlier:
        return None
    peak, at = max(earlier)
    minutes = (now - at).total_seconds() / 60
    shrinks = (peak - pending) / minutes
    return Drain(60 * pending / shrinks if shrinks > 0 else None, max(shrinks, 0.0), minutes)
