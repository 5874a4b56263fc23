"""What the API takes in a URL: the parameters of its addresses."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from jobs.query import LONGEST as QUERY_LONGEST
from jobs.registry import PRIORITIES
from jobs.selectors import MAX_PAGE_SIZE, PAGE_SIZE, AuditFilter, JobFilter, Order
from jobs.serializers.base import ZonedMoment
from jobs.serializers.requests import IN_THE_LANGUAGE, Filter

MAX_MINUTES = 1440


class Parameters(BaseModel):
    """The parameters of an address: text, as URLs have it."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field("", description="Jobs of this type.")
    queue: str = Field("", description="Jobs of this queue.")


class MinutesQuery(Parameters):
    """The parameters of what happened lately."""

    minutes: int = Field(60, ge=1, le=MAX_MINUTES, description="How many, the current one last.")


class Query(Parameters):
    """The parameters of a list."""

    cursor: str = Field("", max_length=64, description="`next` of the page before.")
    limit: int = Field(PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="Jobs per page.")


class OperationsQuery(BaseModel):
    """The parameters of the list of operations."""

    model_config = ConfigDict(extra="forbid")

    cursor: str = Field("", max_length=64, description="`next` of the page before.")
    limit: int = Field(PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="Operations per page.")


class AuditParameters(BaseModel):
    """What the audit is narrowed to."""

    model_config = ConfigDict(extra="forbid")

    actor: str = Field("", max_length=150, description="What this user did or was refused.")
    action: str = Field("", max_length=32, description="For example requeue, login or refused.")
    target: str = Field("", max_length=200, description="Whole: a job's id, a queue, an address.")
    refused: Literal["", "yes", "no"] = Field("", description="`yes`: only what was refused.")
    since: ZonedMoment | None = Field(None, description="From this time on.")
    until: ZonedMoment | None = Field(None, description="Before this time.")

    def chosen(self) -> AuditFilter:
        """Return them as the selectors take them."""
        return AuditFilter(**{name: getattr(self, name) for name in AUDIT_FIELDS})


AUDIT_FIELDS = tuple(AuditFilter.__dataclass_fields__)


class AuditQuery(AuditParameters):
    """The parameters of the list of audit entries."""

    cursor: str = Field("", max_length=64, description="`next` of the page before.")
    limit: int = Field(PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, description="Entries per page.")


class JobQuery(BaseModel):
    """The parameters of one job."""

    model_config = ConfigDict(extra="forbid")

    wait: float = Field(
        0, ge=0, le=30, description="Hold the answer until the job ends, for so many seconds."
    )
    reveal: Literal["", "1"] = Field(
        "", description="`1`: show what is secret, with the right to; the audit says who did."
    )


class DeadQuery(Query):
    """The parameters of the list of dead letters."""

    def chosen(self) -> JobFilter:
        """Return them as the selectors take them."""
        return JobFilter(status="dead", type=self.type, queue=self.queue)


class JobsQuery(Query):
    """The parameters of the list of jobs."""

    status: str = Field("", description="Jobs in this state.")
    priority: str = Field("", description=f"One of {', '.join(PRIORITIES)}.")
    q: str = Field("", description="An id, a job type or a tag, whole.")
    tag: str = Field("", description="Jobs that carry this tag.")
    error_type: str = Field("", description="Jobs whose last attempt failed with such an error.")
    worker: str = Field("", description="Jobs that this worker holds or held last.")
    created_after: ZonedMoment | None = Field(None, description="Jobs created then or later.")
    created_before: ZonedMoment | None = Field(None, description="Jobs created before then.")
    query: str = Field("", max_length=QUERY_LONGEST, description=IN_THE_LANGUAGE)
    sort: Order = Field("newest", description="Which come first: `newest` or `oldest`.")

    def chosen(self) -> JobFilter:
        """Return them as the selectors take them."""
        return JobFilter(**{name: getattr(self, name) for name in Filter.model_fields}, q=self.q)
