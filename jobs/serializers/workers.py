"""Workers."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from jobs.models import Job
from jobs.selectors import HELD_ROWS, WorkerView
from jobs.serializers.base import Id, Shape


class WorkerShape(Shape):
    """One boot of a worker process; `state` is live, lost or ended."""

    id: Id
    supervisor: Id = Field(description="Of its runworkers, which all its siblings share.")
    supervisor_pid: int | None
    host: str
    pid: int
    queues: list[str]
    concurrency: int
    version: str
    state: str
    quiet: bool | None = Field(description="It takes no new job; null before its first heartbeat.")
    asked: str | None = Field(description="What was asked of it last: quiet, resume or stop.")
    asked_at: datetime | None
    asked_by: str | None
    done: int | None = Field(description="Executions that ended well since its start.")
    failed: int | None
    rss_bytes: int | None
    cpu_percent: float | None = Field(description="Of one core, since the heartbeat before.")
    started_at: datetime
    heartbeat_at: datetime
    heartbeat_age_seconds: float
    ended_at: datetime | None
    end_reason: str | None
    held: int = Field(description="Jobs that it holds: with prefetch more than it executes.")
    running: list[Id] = Field(
        description=f"The {HELD_ROWS} of these that it has held for longest, or all."
    )

    @classmethod
    def of(cls, view: WorkerView, jobs: Sequence[Job]) -> "WorkerShape":
        facts = {name: getattr(view.worker, name, None) for name in cls.model_fields}
        known = {
            "state": view.state,
            "heartbeat_age_seconds": round(view.heartbeat_age, 3),
            "held": view.held,
            "running": [job.id for job in jobs],
        }
        return cls.model_validate(facts | known)


class WorkerList(Shape):
    """Every worker."""

    results: list[WorkerShape]
