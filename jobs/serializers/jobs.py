"""Jobs, and why they are not running."""

from datetime import datetime
from typing import Any

from pydantic import Field, field_validator

from jobs.serializers.base import Id, Json, Shape
from jobs.why import Why


class AttemptShape(Shape):
    """One execution that ended."""

    attempt: int
    claim: int
    worker: Id
    started_at: datetime
    ended_at: datetime
    outcome: str
    error_type: str
    error: str
    traceback: str
    logs: list[str] = Field(description="The last lines that the job logged.")

    @field_validator("logs", mode="before")
    @classmethod
    def none_is_empty(cls, logs: Any) -> Any:
        return logs or []


class JobSummary(Shape):
    """A job in a list."""

    id: Id
    type: str
    queue: str
    priority: str
    status: str
    tags: list[str]
    attempt: int
    max_attempts: int
    crashes: int
    created_at: datetime
    enqueued_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    expire_at: datetime | None
    error: str | None


class ExportShape(JobSummary):
    """A job in an export; what is secret is masked."""

    worker: Id | None
    payload: Json
    result: Json


class JobShape(JobSummary):
    """A job with all that is known of it."""

    payload: Json
    result: Json
    result_error: str | None
    claim: int
    worker: Id | None
    request_id: str | None = Field(description="Of the request, or the job, that submitted it.")
    idempotency_key: str | None
    copied_from: Id | None = Field(description="The job that was edited and requeued as this one.")
    copied_to: Id | None = Field(description="The last job that was made so of this one.")
    attempts: list[AttemptShape]


class JobPage(Shape):
    """One page of jobs, newest first. `next` is the cursor of the page after it; null: the last."""

    results: list[JobSummary]
    next: str | None
    searched_to: datetime | None = Field(
        description="Not null: the page is short because the search stopped at jobs of that time; "
        "`next` goes on from there."
    )


class BulkShape(Shape):
    """The ids of the jobs, in the order of the request."""

    ids: list[str]


class BlockShape(Shape):
    """Something that keeps a job waiting; `remedy` is empty where there is nothing to do."""

    code: str = Field(
        description="redis_down, paused, scheduled, backoff, overdue, no_worker, quiet, "
        "unknown_type, busy, not_in_lane or behind."
    )
    text: str
    remedy: str


class AheadShape(Shape):
    """A lane that is taken before the job, its own the last; `capped`: so many or more."""

    queue: str
    priority: str
    jobs: int
    capped: bool


class WhyShape(Shape):
    """Why a job is not running; `ahead` is null unless it is pending.

    Without an estimate, `basis` says why there is none.
    """

    status: str
    waits: bool
    summary: str
    blocks: list[BlockShape]
    ahead: int | None
    capped: bool
    lanes: list[AheadShape]
    estimate_seconds: float | None
    basis: str

    @classmethod
    def of(cls, why: Why) -> "WhyShape":
        lanes = [
            AheadShape(
                queue=each.lane.queue,
                priority=each.lane.priority,
                jobs=each.jobs,
                capped=each.capped,
            )
            for each in why.lanes
        ]
        blocks = [BlockShape.model_validate(block) for block in why.blocks]
        return cls.model_validate({**vars(why), "lanes": lanes, "blocks": blocks})
