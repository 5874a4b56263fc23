"""The shapes of the API: what it takes and what it gives, as pydantic models.

Their requests are strict: no other fields, no number in a string, no object where a text belongs.
Pydantic, because a bulk of 10,000 jobs is checked in some tens of milliseconds, and because
payloads have its errors already.
"""

import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from bson import ObjectId
from django.conf import settings
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from jobs import secrets
from jobs.backlog import QueueState
from jobs.errors import FieldError, InvalidRequest
from jobs.models import Job
from jobs.query import LONGEST as QUERY_LONGEST
from jobs.registry import PRIORITIES, JobType, Priority
from jobs.requests import Request
from jobs.selectors import (
    MAX_PAGE_SIZE,
    PAGE_SIZE,
    AuditFilter,
    JobFilter,
    Minute,
    Order,
    Stats,
    WorkerView,
)
from jobs.states import Action
from jobs.system import System
from jobs.tallies import quantile
from jobs.why import Why

M = TypeVar("M", bound="Strict")
MAX_MINUTES = 1440
MAX_PAUSE_SECONDS = 366 * 86400
IN_THE_LANGUAGE = (
    'Terms that must all hold, such as `state:dead -tag:bulk age:>1h args.to:"*@x.com"`.'
)


class Strict(BaseModel):
    """A request: each field as declared and no other."""

    model_config = ConfigDict(extra="forbid", strict=True)


def read(model: type[M], data: Any) -> M:
    """Return `data` as that request. Raises `InvalidRequest` with one error per fault."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidRequest(*(_fault(model, each) for each in error.errors()[:100])) from None


def _fault(model: type[BaseModel], error: Any) -> FieldError:
    path = ".".join(map(str, error["loc"])) or "body"
    if error["type"] == "extra_forbidden":
        known = JobRequest if len(error["loc"]) > 1 else model
        names = ", ".join(known.model_fields) or "none"
        return FieldError(path, f"There is no such field. The fields are: {names}.")
    return FieldError(path, str(error["msg"]))


def _moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("use a time as text, for example 2026-11-24T12:00:00Z")
    return datetime.fromisoformat(value)


def finite(value: Any) -> Any:
    """Return a JSON value as JSON can say it: what is not a number becomes a text that names it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(name): finite(inner) for name, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list) else value


def _id(value: Any) -> Any:
    return str(value) if isinstance(value, ObjectId) else value


Id = Annotated[str, BeforeValidator(_id), Field(description="24 hexadecimal digits.")]
Json = Annotated[Any, BeforeValidator(finite)]


def _zoned(value: datetime) -> datetime:
    if value.tzinfo is None or not 1970 <= value.year <= 9000:
        raise ValueError("use a time with its zone, for example 2026-11-24T12:00:00Z")
    return value


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


ZonedMoment = Annotated[Moment, AfterValidator(_zoned)]


# --- what it takes ----------------------------------------------------------------------------


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


Q = TypeVar("Q", bound=BaseModel)


def read_query(model: type[Q], query: Mapping[str, list[str]]) -> Q:
    """Return a URL's parameters. Raises `InvalidRequest`: unknown, given twice, or bad values."""
    given = {name: values for name, values in query.items() if name != "format"}
    twice = [FieldError(name, "Give it once.") for name, values in given.items() if len(values) > 1]
    if twice:
        raise InvalidRequest(*twice)
    try:
        return model.model_validate({name: values[0] for name, values in given.items()})
    except ValidationError as error:
        raise InvalidRequest(*(_fault(model, each) for each in error.errors())) from None


# --- what it gives ----------------------------------------------------------------------------


class Shape(BaseModel):
    """An answer, read off an object of ours."""

    model_config = ConfigDict(from_attributes=True)

    def answer(self) -> dict[str, Any]:
        """Return it as JSON values; times are ISO 8601 in UTC."""
        return self.model_dump(mode="json", by_alias=True)


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


class AuditShape(Shape):
    """One thing that somebody did, or was refused. `seq` and `hash` are its place in the chain."""

    id: Id
    seq: int | None
    at: datetime | None
    actor: str
    token: str | None
    address: str | None
    via: str | None
    request_id: str | None
    action: str
    target: str
    detail: str
    before: Json
    after: Json
    refused: bool | None
    hash: str | None


class AuditList(Shape):
    """One page of the audit, newest first; `next` as in a page of jobs."""

    results: list[AuditShape]
    next: str | None


class RequeuedShape(Shape):
    """How many jobs are pending again by now, and the operation that goes on with the others."""

    requeued: int
    operation: Id
    state: str


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
    """The largest groups of dead letters; if not `complete`, of the newest 10,000."""

    results: list[DeadGroupShape]
    complete: bool


class LaneShape(Shape):
    """One queue at one priority."""

    queue: str
    priority: str
    depth: int
    oldest: datetime | None
    paused: bool


class StatsShape(Shape):
    """Counts, at most about a second old; with a large backlog they are taken less often."""

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


class QueueShape(Shape):
    """A queue; all of `paused_…` is null while its jobs are handed out."""

    name: str
    paused_at: datetime | None
    paused_by: str | None
    paused_reason: str | None
    paused_until: datetime | None = Field(description="Null: until somebody resumes it.")


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
    workers: int = Field(description="Live ones that serve it.")

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
        )


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
    running: list[Id]

    @classmethod
    def of(cls, view: WorkerView) -> "WorkerShape":
        facts = {name: getattr(view.worker, name, None) for name in cls.model_fields}
        known = {
            "state": view.state,
            "heartbeat_age_seconds": round(view.heartbeat_age, 3),
            "running": [job.id for job in view.running],
        }
        return cls.model_validate(facts | known)


class StoreShape(Shape):
    """MongoDB or Redis; sizes in bytes, null where it does not say."""

    name: str
    up: bool
    down_since: datetime | None
    version: str
    round_trip_ms: float | None
    memory: int | None
    memory_limit: int | None
    stored: int | None
    connections: int | None
    error: str


class DriftShape(Shape):
    """The totals that are shown, against how many jobs MongoDB says it stores.

    `examined_at`: when `manage.py audit` last compared every job; null: never. `wrong`: by check.
    """

    counted: int
    stored: int
    difference: int
    examined_at: datetime | None
    examined: int
    wrong: dict[str, int]


class ChoreShape(Shape):
    """Something that a steward does again and again."""

    name: str
    ran_at: datetime
    failing: bool
    late: bool


class StewardShape(Shape):
    """A steward, as it said itself last; the leading one works for all."""

    id: str
    host: str
    pid: int
    leading: bool
    live: bool
    at: datetime
    chores: list[ChoreShape]


class WorkerVersionShape(Shape):
    """How many live workers run a version; `same`: the web process runs it too."""

    version: str
    workers: int
    same: bool


class SettingShape(Shape):
    """A setting, and what it means."""

    name: str
    value: str
    means: str


class SystemShape(Shape):
    """How the system itself is."""

    stores: list[StoreShape]
    drift: DriftShape
    stewards: list[StewardShape]
    version: str
    packages: dict[str, str]
    worker_versions: list[WorkerVersionShape]
    settings: list[SettingShape]

    @classmethod
    def of(cls, system: System) -> "SystemShape":
        return cls.model_validate(system)


class TypeShape(Shape):
    """A job type; null means as the settings say. `schema` is the JSON Schema of its payload."""

    name: str
    description: str
    priority: str
    queue: str
    max_attempts: int | None
    timeout: float | None
    backoff: float | None
    payload_schema: dict[str, Any] = Field(serialization_alias="schema")

    @classmethod
    def of(cls, job_type: JobType[..., Any]) -> "TypeShape":
        facts = {name: getattr(job_type, name, None) for name in cls.model_fields}
        return cls.model_validate(facts | {"payload_schema": job_type.schema.model_json_schema()})


class QueueList(Shape):
    """Every queue."""

    results: list[QueueShape]


class WorkerList(Shape):
    """Every worker."""

    results: list[WorkerShape]


class TypeList(Shape):
    """Every job type."""

    results: list[TypeShape]


class FieldErrorShape(Shape):
    """One fault of a request."""

    field: str
    message: str


class ProblemShape(Shape):
    """An error (RFC 9457), with a stable `code`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldErrorShape]
