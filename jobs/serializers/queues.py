"""Queues, and how far behind they are."""

from datetime import datetime

from pydantic import Field

from jobs.backlog import QueueState
from jobs.serializers.base import Shape


class QueueShape(Shape):
    """A queue; all of `paused_…` is null while its jobs are handed out."""

    name: str
    paused_at: datetime | None
    paused_by: str | None
    paused_reason: str | None
    paused_until: datetime | None = Field(description="Null: until somebody resumes it.")


class QueueList(Shape):
    """Every queue."""

    results: list[QueueShape]


class LaneStateShape(Shape):
    """One lane: how many wait, since when the oldest does, and how long it should at most."""

    priority: str
    depth: int
    oldest: datetime | None
    target_seconds: float
    late: bool


class BacklogShape(Shape):
    """How far behind a queue is. Rates are jobs a minute, over the last 5 whole minutes."""

    queue: str
    by_status: dict[str, int]
    lanes: list[LaneStateShape]
    accepted_per_minute: float
    ended_per_minute: float
    drain_seconds: float | None = Field(description="Null: nothing waits, or nobody can say.")
    workers: int = Field(description="Live ones that serve it, also those that are quiet.")
    quiet_workers: int = Field(description="Of these, those that are quiet: they take no new job.")

    @classmethod
    def of(cls, state: QueueState) -> "BacklogShape":
        lanes = [
            LaneStateShape(
                priority=lane.lane.priority,
                depth=lane.depth,
                oldest=lane.oldest,
                target_seconds=lane.target,
                late=lane.late,
            )
            for lane in state.lanes
        ]
        return cls(
            queue=state.queue.name,
            by_status=state.by_status,
            lanes=lanes,
            accepted_per_minute=state.accepted,
            ended_per_minute=state.ended,
            drain_seconds=state.drain.seconds if state.drain else None,
            workers=state.live,
            quiet_workers=state.quiet,
        )
