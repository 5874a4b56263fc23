"""Counts, and what happened in the last minutes."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from jobs.counts import Stats
from jobs.selectors import Minute
from jobs.serializers.base import Shape
from jobs.tallies import quantile


class LaneShape(Shape):
    """One queue at one priority."""

    queue: str
    priority: str
    depth: int
    oldest: datetime | None
    paused: bool


class StatsShape(Shape):
    """Counts, at most about a second old; taken less often while MongoDB answers slowly."""

    at: datetime
    total: int
    by_status: dict[str, int]
    lanes: list[LaneShape]

    @classmethod
    def of(cls, stats: Stats) -> "StatsShape":
        lanes = [
            LaneShape(
                queue=each.lane.queue,
                priority=each.lane.priority,
                depth=each.depth,
                oldest=each.oldest,
                paused=each.paused,
            )
            for each in stats.lanes
        ]
        return cls(at=stats.at, total=stats.total, by_status=stats.by_status, lanes=lanes)


class TimesShape(Shape):
    """How long it took, in milliseconds: at most a factor of 1.41 off. Null: nobody knows."""

    p50: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, histogram: Mapping[int, int]) -> "TimesShape":
        p50, p95, p99 = (quantile(histogram, share) for share in (0.5, 0.95, 0.99))
        return cls(p50=p50, p95=p95, p99=p99)


class MinuteShape(Shape):
    """One minute: jobs accepted, executions by how they ended, how long they waited and ran."""

    at: datetime
    accepted: int
    outcomes: dict[str, int]
    waited_ms: TimesShape
    ran_ms: TimesShape

    @classmethod
    def of(cls, minute: Minute) -> "MinuteShape":
        return cls(
            at=minute.at,
            accepted=minute.accepted,
            outcomes=minute.outcomes,
            waited_ms=TimesShape.of(minute.waited),
            ran_ms=TimesShape.of(minute.ran),
        )


class MinutesShape(Shape):
    """The last minutes, the oldest first, and the times of all of them."""

    minutes: list[MinuteShape]
    waited_ms: TimesShape
    ran_ms: TimesShape

    @classmethod
    def of(cls, minutes: list[Minute]) -> "MinutesShape":
        waited, ran = Counter[int](), Counter[int]()
        for minute in minutes:
            waited.update(minute.waited)
            ran.update(minute.ran)
        return cls(
            minutes=[MinuteShape.of(minute) for minute in minutes],
            waited_ms=TimesShape.of(waited),
            ran_ms=TimesShape.of(ran),
        )
