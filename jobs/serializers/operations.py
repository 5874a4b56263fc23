"""Bulk operations."""

from datetime import datetime
from typing import Any

from pydantic import Field

from jobs.serializers.base import Id, Shape
from jobs.serializers.jobs import JobSummary


class PreviewShape(Shape):
    """What an operation with this token would touch: these jobs and no later one."""

    action: str
    count: int
    by_status: dict[str, int]
    by_type: dict[str, int]
    sample: list[JobSummary]
    token: str
    expires_at: datetime


class OperationShape(Shape):
    """A bulk operation. `skipped`: jobs that had moved on by themselves; `rate`: jobs a second."""

    id: Id
    action: str
    filter: dict[str, Any]
    actor: str
    state: str = Field(description="running, stopped, completed or failed.")
    total: int
    done: int
    skipped: int
    rate: float | None
    error: str | None
    frozen_at: datetime
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class OperationList(Shape):
    """One page of operations, newest first; `next` as in a page of jobs."""

    results: list[OperationShape]
    next: str | None
