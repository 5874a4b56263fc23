"""Dead letters: groups of them, and what became of those that were requeued."""

from datetime import datetime

from pydantic import Field

from jobs.serializers.base import Id, Shape


class GroupNoteShape(Shape):
    """What somebody wrote down about a group of dead letters."""

    text: str
    actor: str
    at: datetime


class DeadGroupShape(Shape):
    """Dead letters of one type that failed last with the same error, but for what varies in it."""

    fingerprint: str
    type: str
    error_type: str
    count: int
    queues: dict[str, int]
    first_at: datetime | None
    newest_at: datetime | None
    newest_error: str
    hours: list[int] = Field(description="Deaths in each of the last 24 hours, the last one last.")
    note: GroupNoteShape | None


class DeadGroupList(Shape):
    """The largest groups of dead letters; if not `complete`, of the newest 5,000."""

    results: list[DeadGroupShape]
    complete: bool


class RequeuedShape(Shape):
    """How many jobs are pending again by now, and the operation that goes on with the others."""

    requeued: int
    operation: Id
    state: str
