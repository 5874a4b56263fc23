"""What the API takes as a body."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from pydantic import Field, model_validator

from jobs import secrets
from jobs.models import Job
from jobs.query import LONGEST as QUERY_LONGEST
from jobs.registry import Priority
from jobs.requests import Request
from jobs.selectors import JobFilter
from jobs.serializers.base import Moment, Strict, ZonedMoment
from jobs.states import Action

MAX_PAUSE_SECONDS = 366 * 86400
IN_THE_LANGUAGE = (
    'Terms that must all hold, such as `state:dead -tag:bulk age:>1h args.to:"*@x.com"`.'
)


class JobRequest(Strict):
    """One job to submit; what is left out (or null) is as its job type says."""

    type: str = Field(max_length=64, description="A job type; see /api/v1/types/.")
    payload: dict[str, Any] = Field(description="As the job type's schema has it.")
    priority: Priority | None = None
    queue: str | None = None
    run_at: Moment | None = Field(None, description="Not before this time; excludes delay.")
    delay: float | None = Field(None, description="Not before so many seconds from now.")
    max_attempts: int | None = None
    tags: list[str] = []

    def request(self) -> Request:
        """Return it as the services take it."""
        return Request(**{name: getattr(self, name) for name in type(self).model_fields})


class EditRequest(Strict):
    """What is to be different when a job is submitted anew; what is left out (or null) stays."""

    payload: dict[str, Any] | None = Field(
        None,
        description="All of it, as the schema has it. What is masked where you read it, and comes "
        "back masked, stays as it is.",
    )
    priority: Priority | None = None
    queue: str | None = None
    run_at: Moment | None = Field(None, description="Not before this time; excludes delay.")
    delay: float | None = Field(None, description="Not before so many seconds from now.")
    max_attempts: int | None = None
    tags: list[str] | None = None

    def request(self, original: Job) -> Request:
        """Return what to submit in place of `original`, whose secrets are revealed."""
        kept = ("type", "payload", "priority", "queue", "max_attempts", "tags")
        asked = {name: value for name, value in vars(self).items() if value is not None}
        if self.payload is not None:
            asked["payload"] = secrets.unmasked(self.payload, original.payload)
        return Request(**{name: getattr(original, name) for name in kept} | asked)


class BulkRequest(Strict):
    """Jobs to submit all or none."""

    jobs: list[JobRequest] = Field(min_length=1, max_length=settings.BULK_MAX_JOBS)


class NothingRequest(Strict):
    """An empty body, or an empty object."""


class PauseRequest(Strict):
    """Why a queue is paused, and until when: for so many seconds, or until a time."""

    reason: str = Field("", max_length=200, description="What others should know of it.")
    seconds: float | None = Field(
        None, gt=0, le=MAX_PAUSE_SECONDS, description="It resumes by itself after so long."
    )
    until: ZonedMoment | None = Field(None, description="It resumes by itself then.")

    @model_validator(mode="after")
    def _one_end(self) -> "PauseRequest":
        if self.seconds is not None and self.until is not None:
            raise ValueError("use seconds or until, not both")
        return self

    def ends_at(self, now: datetime) -> datetime | None:
        """Return when it resumes by itself; `None`: when somebody resumes it."""
        return self.until if self.seconds is None else now + timedelta(seconds=self.seconds)


class NoteRequest(Strict):
    """What to write down; nothing: delete what is there."""

    note: str


class Selection(Strict):
    """Which dead letters; nothing means all."""

    type: str = ""
    queue: str = ""


class Filter(Strict):
    """Which jobs; what is left out narrows nothing."""

    status: str = ""
    type: str = ""
    queue: str = ""
    priority: str = ""
    tag: str = ""
    error_type: str = Field("", description="The kind of error of the last attempt.")
    worker: str = Field("", description="Who holds the job, or held it last.")
    created_after: ZonedMoment | None = None
    created_before: ZonedMoment | None = None
    query: str = Field("", max_length=QUERY_LONGEST, description=IN_THE_LANGUAGE)

    def chosen(self) -> JobFilter:
        """Return it as the services take it."""
        return JobFilter(**dict(self))


class PreviewRequest(Strict):
    """What to do to which jobs."""

    action: Action
    filter: Filter = Filter()


class Frozen(Strict):
    """A previewed set of jobs."""

    token: str = Field(max_length=2000, description="From the preview; good for an hour.")
