"""Every question: lists, counts, ages. Reads only, through the ORM and a few aggregations."""

import base64
import binascii
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from bson import ObjectId
from bson.errors import InvalidId
from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Model, Q, QuerySet

from jobs import counting, counts, mongodb, registry, repository, search, secrets
from jobs.clients import Document, collection
from jobs.errors import FieldError, InvalidRequest, NotFound
from jobs.models import ApiToken, AuditEntry, Job, Operation, Queue, SavedView, Worker
from jobs.mongodb import repeated
from jobs.objects import documents, objects
from jobs.operations import PREVIEWED
from jobs.registry import NAME, PRIORITIES
from jobs.search import SLACK, between, id_near
from jobs.states import State
from jobs.tallies import OUTCOMES, minute_of
from jobs.waiting import Outcome, Watcher

PAGE_SIZE = 50
OLDEST_FIRST, NEWEST_FIRST = 1, -1  # ids grow with time
Order = Literal["newest", "oldest"]
ORDERS: dict[Order, int] = {"newest": NEWEST_FIRST, "oldest": OLDEST_FIRST}
MAX_PAGE_SIZE = 200
PART_BYTES = 4 * 1024 * 1024  # of whole jobs in memory at once: one may have 15 MB
WORKERS = 10_000  # more are not shown, of those that ended and of the others
TOKENS = 200  # of those in use, and of those that ended
HELD_ROWS = 20  # of the jobs that a worker holds; more are counted, and not listed
LARGE = ("payload", "result", "attempts")  # a list leaves them in MongoDB until they are asked for
LAST_ATTEMPT: Document = {"$slice": ["$attempts", -1]}
NOTHING: Mapping[str, Any] = {}
WHOLE: Document = {"payload": 1, "result": 1, "attempts": LAST_ATTEMPT}
HELD: Document = {"type": 1, "worker": 1, "started_at": 1}  # what is shown of what a worker holds
M = TypeVar("M", bound=Model)
T = TypeVar("T")
ERROR_TYPE = re.compile(r"[\w.]{1,200}", re.ASCII)


def now() -> datetime:
    """Return MongoDB's time, the one that every date of a job is in."""
    return mongodb.now()


# --- jobs -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """What a list of jobs is narrowed to; empty means all. `q`: an id, a type or a tag, whole.

    `query`: in the language of `jobs.query`.
    """

    status: str = ""
    type: str = ""
    queue: str = ""
    priority: str = ""
    q: str = ""
    tag: str = ""
    error_type: str = ""  # of the last attempt
    worker: str = ""  # who holds it, or held it last
    created_after: datetime | None = None
    created_before: datetime | None = None
    query: str = ""
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page of jobs, newest first. `next_cursor` is `None` on the last one.

    `searched_to`: the page is not full, and older jobs than of then have not been looked at yet.
    """

    jobs: list[T]
    next_cursor: str | None
    searched_to: datetime | None = None


def jobs(
    chosen: JobFilter,
    *,
    cursor: str = "",
    size: int = PAGE_SIZE,
    order: Order = "newest",
    queues: Collection[str] | None = None,
    reveal: bool = False,
) -> Page[Job]:
    """Return one page of the jobs that match, without what is large; see `page`."""

    def read(ids: list[ObjectId]) -> list[Job]:
        return _listed({"_id": {"$in": ids}}, ORDERS[order], len(ids))

    return page(chosen, read, cursor=cursor, size=size, order=order, queues=queues, reveal=reveal)


def page(
    chosen: JobFilter,
    read: Callable[[list[ObjectId]], list[T]],
    *,
    cursor: str = "",
    size: int = PAGE_SIZE,
    order: Order = "newest",
    queues: Collection[str] | None = None,
    reveal: bool = False,
) -> Page[T]:
    """Return one page of the jobs that match, of these queues, or with `None` of all, as `read`.

    Pages are cut by id, so jobs that arrive meanwhile neither shift nor repeat a row. What no
    index answers is looked for in a bounded number of jobs: see `Page.searched_to`. `reveal`:
    secret payload fields may be searched.

    Raises `InvalidRequest` for a bad filter or cursor, `StoreDown` for a question that takes more
    than 5 s.
    """
    size = min(size, MAX_PAGE_SIZE)
    after = {("$gt" if order == "oldest" else "$lt"): _read_cursor(cursor)} if cursor else None
    every = _conditions(chosen, queues, after, reveal=reveal)
    found = search.find(every, counts.stats().by_status, ORDERS[order], size + 1)
    shown = read(found.ids[:size])
    last = found.ids[size - 1] if len(found.ids) > size else found.edge
    searched_to = found.edge.generation_time if found.edge else None
    return Page(shown, _cursor(last) if last else None, searched_to)


def every_job(chosen: JobFilter, most: int, *, reveal: bool = False) -> Iterator[Job]:
    """Yield the jobs that match with all but old attempts, masked, the newest first. See `jobs`."""
    left, behind = most, None
    while left > 0:
        size = min(left, MAX_PAGE_SIZE)
        every = _conditions(chosen, None, behind, reveal=reveal)
        found = search.find(every, counts.stats().by_status, NEWEST_FIRST, size)
        for part in _parts(found.ids):
            for job in _listed({"_id": {"$in": part}}, NEWEST_FIRST, len(part), WHOLE):
                job.payload, job.result = secrets.shown(job.type, job.payload, job.result)
                yield job
        last = found.ids[-1] if len(found.ids) == size else found.edge
        if last is None:
            return
        left, behind = left - len(found.ids), {"$lt": last}


def _parts(ids: Sequence[ObjectId]) -> Iterator[list[ObjectId]]:
    """Yield the newest first of these jobs, as many at once as are `PART_BYTES`, or one."""
    size = {"$project": {"bytes": {"$bsonSize": "$$ROOT"}}}
    with mongodb.within(mongodb.QUERY_SECONDS):
        sized = collection("jobs").aggregate([{"$match": {"_id": {"$in": ids}}}, size])
        found = {each["_id"]: each["bytes"] for each in sized}
    part, left = list[ObjectId](), PART_BYTES
    for id in sorted(found, reverse=True):
        if part and found[id] > left:
            yield part
            part, left = [], PART_BYTES
        part.append(id)
        left -= found[id]
    if part:
        yield part


def count(chosen: JobFilter, *, reveal: bool = False) -> dict[str, search.Count]:
    """Count the jobs that match by state, as far as that is cheap. Raises as `jobs`."""
    return search.count(_conditions(chosen, reveal=reveal), counts.stats().by_status)


def _listed(
    selection: Mapping[str, Any], order: int, limit: int, fields: Mapping[str, Any] = NOTHING
) -> list[Job]:
    """Return jobs of a selection by age, without what is large, read by way of an index.

    The ORM's own sort would read every job.
    """
    return _read(Job, selection, {"_id": order}, limit, fields)


def _read(
    model: type[M],
    selection: Mapping[str, Any],
    order: Document,
    limit: int,
    fields: Mapping[str, Any] = NOTHING,
) -> list[M]:
    shown = {**_columns(model), **fields}
    with mongodb.within(mongodb.QUERY_SECONDS):
        found = documents(model).find(selection, shown, limit=limit, sort=order)
        return list(objects(model, found, shown))


@cache
def _columns(model: type[Model]) -> Document:
    return {
        str(field.column): 1 for field in model._meta.concrete_fields if field.name not in LARGE
    }


def jobs_named(ids: Sequence[ObjectId]) -> list[Job]:
    """Return these jobs, the newest first, without what is large; at most `MAX_PAGE_SIZE`."""
    return _listed({"_id": {"$in": list(ids)}}, NEWEST_FIRST, MAX_PAGE_SIZE)


def _jobs() -> QuerySet[Job]:
    query: QuerySet[Job] = Job.objects.all()
    return query


def newer_cursor(chosen: JobFilter, newest: str, *, reveal: bool = False) -> str | None:
    """Return the cursor of the page before that of which the job `newest` is the first.

    `""`: the first page; `None`: there is no such page.
    """
    newer = _conditions(chosen, None, {"$gt": ObjectId(newest)}, reveal=reveal)
    found = search.find(newer, counts.stats().by_status, OLDEST_FIRST, PAGE_SIZE + 1)
    if len(found.ids) > PAGE_SIZE:
        return _cursor(found.ids[PAGE_SIZE])
    if found.edge:
        return _cursor(found.edge)
    return "" if found.ids else None


def selection(
    chosen: JobFilter, queues: Collection[str] | None = None, *, reveal: bool = False
) -> Document:
    """Return the jobs that match as MongoDB selects them; see `jobs`."""
    every = _conditions(chosen, queues, reveal=reveal)
    return {"$and": every} if every else {}


def _conditions(
    chosen: JobFilter,
    queues: Collection[str] | None = None,
    id: Mapping[str, ObjectId] | None = None,
    *,
    reveal: bool = False,
) -> list[Document]:
    """Return what must hold for a job that matches and whose id is in a range."""
    if faults := list(_filter_faults(chosen)):
        raise InvalidRequest(*faults)
    named = {name: getattr(chosen, name) for name in ("status", "type", "queue", "priority")}
    every: list[dict[str, Any]] = [{name: value} for name, value in named.items() if value]
    every += [{"_id": dict(id)}] if id else []
    every += [{"queue": {"$in": list(queues)}}] if queues is not None else []
    every += [{"tags": chosen.tag}] if chosen.tag else []
    every += [{"worker": ObjectId(chosen.worker)}] if chosen.worker else []
    every += _in_words(chosen.q) if chosen.q else []
    every += search.conditions(chosen.query, reveal=reveal) if chosen.query else []
    every += [{"_id": {"$in": [read_id(id) for id in chosen.ids]}}] if chosen.ids else []
    every += _failed_last_with(chosen.error_type) if chosen.error_type else []
    if chosen.created_after or chosen.created_before:
        every += between("created_at", chosen.created_after, chosen.created_before)
    return every


def _in_words(q: str) -> list[dict[str, Any]]:
    if ObjectId.is_valid(q):
        return [{"_id": ObjectId(q)}]
    return [{"type": q}] if registry.get(q) else [{"tags": q}]


def _failed_last_with(error_type: str) -> list[dict[str, Any]]:
    last = {"$expr": {"$eq": [{"$last": "$attempts.error_type"}, {"$literal": error_type}]}}
    return [{"attempts.error_type": error_type}, last]


def _filter_faults(chosen: JobFilter) -> Iterator[FieldError]:
    allowed: dict[str, list[str]] = {
        "status": [state.value for state in State],
        "priority": list(PRIORITIES),
    }
    for name, values in allowed.items():
        if getattr(chosen, name) and getattr(chosen, name) not in values:
            yield FieldError(name, f"Use one of: {', '.join(values)}.")
    for name in ("type", "queue", "q", "tag"):
        if getattr(chosen, name) and not NAME.fullmatch(getattr(chosen, name)):
            yield FieldError(name, "Use letters, digits, dots, dashes and underscores, at most 64.")
    if chosen.worker and not ObjectId.is_valid(chosen.worker):
        yield FieldError("worker", "A worker's id is 24 hexadecimal digits; see workers/.")
    if chosen.error_type and not ERROR_TYPE.fullmatch(chosen.error_type):
        yield FieldError(
            "error_type", "Use the name of a Python exception, for example ValueError."
        )


def _cursor(id: ObjectId) -> str:
    return base64.urlsafe_b64encode(id.binary).decode()


def _read_cursor(cursor: str) -> ObjectId:
    try:
        return ObjectId(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, InvalidId):
        raise InvalidRequest(
            FieldError("cursor", "Use the cursor of an earlier answer, unchanged.")
        ) from None


def read_id(id: str, what: str = "A job") -> ObjectId:
    """Return the id that a text is. Raises `InvalidRequest`, which says `what` it is the id of."""
    if not ObjectId.is_valid(id):
        raise InvalidRequest(FieldError("id", f"{what}'s id is 24 hexadecimal digits."))
    return ObjectId(id)


def job(id: str, *, reveal: bool = False) -> Job:
    """Return one job, its secrets masked; to `reveal` them, ask `services.reveal` first.

    Raises `InvalidRequest` for what is no id, `NotFound`.
    """
    found = _whole(read_id(id))
    if found is None:
        raise no_job(id)
    found.payload, found.result = secrets.shown(
        found.type, found.payload, found.result, reveal=reveal
    )
    return found


def no_job(id: str) -> NotFound:
    """Return what is said of an id that is that of no job."""
    return NotFound(f"There is no job {id}. Completed jobs are deleted after a time.")


def _whole(id: ObjectId) -> Job | None:
    """Return a job with all its fields."""
    with mongodb.store_errors():
        return next(objects(Job, documents(Job).find({"_id": id}, limit=1)), None)


@cache
def _watcher() -> Watcher:
    return Watcher(settings.WAITERS)


def wait_for(id: str, seconds: float) -> Outcome:
    """Wait for that long at most until the job has ended; at once `full` where too many wait."""
    return _watcher().wait(ObjectId(id), seconds)


def jobs_with_tag(tag: str) -> QuerySet[Job]:
    """Return the jobs that carry a tag."""
    return _jobs().filter(tags__contains=[tag])


# --- what happened in each minute -------------------------------------------------------------


@dataclass(frozen=True)
class Minute:
    """What happened in one minute: jobs accepted, and executions by how they ended."""

    at: datetime
    accepted: int
    outcomes: dict[str, int]  # completed, failed, timed_out, crashed, lost
    waited: dict[int, int]  # from enqueued to started, by the number of a bucket: see jobs.tallies
    ran: dict[int, int]  # from started to ended


def minutes(count: int = 60, *, queue: str = "", type: str = "") -> list[Minute]:
    """Return the last minutes, the oldest first, the current one last; of a queue or a type.

    Reads a few documents a minute, however many jobs there were. They are kept for 14 days.
    """
    last = minute_of(mongodb.now())
    since = last - timedelta(minutes=count - 1)
    found = {at: Counter[str]() for at in (since + timedelta(minutes=n) for n in range(count))}
    for at, happened in counting.minutes(since, queue=queue, type=type):
        if at in found:
            found[at].update(happened)
    return [as_minute(at, counts) for at, counts in found.items()]


def as_minute(at: datetime, counts: Mapping[str, int]) -> Minute:
    """Return the counts of a minute, each at its place."""
    outcomes = {name: counts.get(f"{name}.jobs", 0) for name in OUTCOMES}
    ran = Counter[int]()
    for name in OUTCOMES:
        ran.update(_buckets(counts, f"{name}.ran."))
    return Minute(at, counts.get("accepted", 0), outcomes, _buckets(counts, "waited."), dict(ran))


def _buckets(counts: Mapping[str, int], prefix: str) -> dict[int, int]:
    return {
        int(name.removeprefix(prefix)): number
        for name, number in counts.items()
        if name.startswith(prefix)
    }


# --- bulk operations --------------------------------------------------------------------------


@dataclass(frozen=True)
class OperationPage:
    """One page of operations, the newest first. `next_cursor` is `None` on the last one."""

    operations: list[Operation]
    next_cursor: str | None


def operations(*, cursor: str = "", size: int = PAGE_SIZE) -> OperationPage:
    """Return operations that were started. Raises `InvalidRequest` for a bad cursor."""
    size = min(size, MAX_PAGE_SIZE)
    started = Operation.objects.exclude(state=PREVIEWED)
    if cursor:
        started = started.filter(id__lt=_read_cursor(cursor))
    found = list(started.order_by("-id")[: size + 1])
    more = _cursor(found[size - 1].id) if len(found) > size else None
    return OperationPage(found[:size], more)


def operation(id: str) -> Operation:
    """Return an operation that was started. Raises `InvalidRequest` for no id, `NotFound`."""
    started = Operation.objects.exclude(state=PREVIEWED)
    found: Operation | None = started.filter(id=read_id(id, "An operation")).first()
    if found is None:
        raise NotFound(f"There is no operation {id}. They are kept for 30 days.")
    return found


# --- workers, queues, the audit ---------------------------------------------------------------


@dataclass(frozen=True)
class WorkerView:
    """A worker as an operator sees it: `state` is live, lost or ended."""

    worker: Worker
    state: str
    heartbeat_age: float  # seconds
    held: int  # jobs; with prefetch more than it executes at this moment

    @property
    def busy(self) -> int:
        """How many of its slots execute something."""
        return min(self.held, self.worker.concurrency)


def workers(*, ended: bool = True) -> list[WorkerView]:
    """Return the workers: the live first, then (unless told otherwise) those that ended lately."""
    found = _workers({"ended_at": None})
    if ended:  # asked for by itself: however many there are, none that lives is left out for it
        found += _workers({"ended_at": {"$ne": None}})
    now, held = mongodb.now(), counts.stats().held
    # By its id: one may have ended between the two questions.
    views = {worker.id: _worker_view(worker, now, held) for worker in found}
    return sorted(views.values(), key=lambda view: (view.state != "live", view.worker.id))


def _workers(selection: Document) -> list[Worker]:
    return _read(Worker, selection, {"_id": NEWEST_FIRST}, WORKERS)


def worker(id: str) -> WorkerView:
    """Return one worker. Raises `InvalidRequest`, `NotFound`."""
    found = _read(Worker, {"_id": read_id(id, "A worker")}, {"_id": OLDEST_FIRST}, 1)
    if not found:
        raise NotFound(f"There is no worker {id}. They are forgotten a day after their end.")
    return _worker_view(found[0], mongodb.now(), counts.stats().held)


def _worker_view(worker: Worker, now: datetime, held: Mapping[str, int]) -> WorkerView:
    age = (now - worker.heartbeat_at).total_seconds()
    lost = age > settings.WORKER_LOST_SECONDS
    state = "ended" if worker.ended_at else "lost" if lost else "live"
    return WorkerView(worker, state, max(age, 0.0), held.get(str(worker.id), 0))


@repeated
def held_jobs(worker: ObjectId | None = None) -> dict[ObjectId, list[Job]]:
    """Return what each worker holds, or only this one: the first `HELD_ROWS`, the oldest first.

    Of each job only `HELD` is read.
    """
    oldest = {"started_at": OLDEST_FIRST, "_id": OLDEST_FIRST}
    first = {"n": HELD_ROWS, "sortBy": oldest, "output": "$$ROOT"}
    pipeline: list[Document] = [
        {"$match": {"status": State.RUNNING, **({"worker": worker} if worker else {})}},
        {"$project": HELD},
        {"$group": {"_id": "$worker", "jobs": {"$topN": first}}},
        {"$unwind": "$jobs"},
        {"$replaceWith": "$jobs"},
    ]
    held: dict[ObjectId, list[Job]] = {}
    with mongodb.within(mongodb.QUERY_SECONDS):
        for job in objects(Job, documents(Job).aggregate(pipeline), {"_id", *HELD}):
            held.setdefault(job.worker, []).append(job)
    return held


@repeated
def worker_names(ids: Collection[ObjectId]) -> dict[ObjectId, str]:
    """Return host and process of these workers; those that ended long ago are forgotten."""
    if not ids:
        return {}
    found = collection("workers").find({"_id": {"$in": list(ids)}}, {"host": 1, "pid": 1})
    return {worker["_id"]: f"{worker['host']}:{worker['pid']}" for worker in found}


def queues() -> list[Queue]:
    """Return every known queue, by name; a pause that has run out is none."""
    return _queues({})


@repeated
def _queues(selection: Document) -> list[Queue]:
    order = {"_id": OLDEST_FIRST}
    pipeline = [{"$match": selection}, {"$set": repository.PAUSE_NOW}, {"$sort": order}]
    return list(objects(Queue, documents(Queue).aggregate(pipeline)))


def saved_views(user: User) -> QuerySet[SavedView]:
    """Return the queries that a person keeps, by name; asked for when they are used."""
    found: QuerySet[SavedView] = SavedView.objects.filter(user=user)
    return found


def tokens() -> list[ApiToken]:
    """Return the API tokens, the newest first, with their users: those in use, and ended ones.

    The newest `TOKENS` of each.
    """
    in_use = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now()))
    every = ApiToken.objects.select_related("user")
    found = [*every.filter(in_use)[:TOKENS], *every.exclude(in_use)[:TOKENS]]
    return sorted(found, key=lambda token: token.id, reverse=True)


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """What the audit is narrowed to; empty and `None` mean all. `until` itself is outside."""

    actor: str = ""
    action: str = ""
    target: str = ""
    refused: Literal["", "yes", "no"] = ""
    since: datetime | None = None
    until: datetime | None = None

    def selection(self) -> dict[str, Any]:
        """Return the entries that match as MongoDB selects them."""
        named = {name: getattr(self, name) for name in ("actor", "action", "target")}
        chosen: dict[str, Any] = {name: value for name, value in named.items() if value}
        if self.refused:
            chosen["refused"] = True if self.refused == "yes" else {"$ne": True}
        return {"$and": [chosen, *between("at", self.since, self.until)]}


@dataclass(frozen=True)
class AuditPage:
    """One page of the audit, newest first. `next_cursor` is `None` on the last one."""

    entries: list[AuditEntry]
    next_cursor: str | None


def audit(
    chosen: AuditFilter = AuditFilter(),
    *,
    cursor: str = "",
    size: int = PAGE_SIZE,
) -> AuditPage:
    """Return what people did and were refused, the newest first. Raises `InvalidRequest`."""
    size = min(size, MAX_PAGE_SIZE)
    before = {"_id": {"$lt": _read_cursor(cursor)}} if cursor else {}
    found = _read(AuditEntry, {**chosen.selection(), **before}, {"_id": NEWEST_FIRST}, size + 1)
    return AuditPage(found[:size], _cursor(found[size - 1].id) if len(found) > size else None)


def whole_audit(chosen: AuditFilter) -> Iterator[AuditEntry]:
    """Yield every entry that matches, the newest first, read page by page."""
    cursor: str | None = ""
    while cursor is not None:
        page = audit(chosen, cursor=cursor, size=MAX_PAGE_SIZE)
        yield from page.entries
        cursor = page.next_cursor


def refused_ends() -> int:
    """Return how many executions ended after their claim was over, and were not recorded."""
    return repository.counted(repository.REFUSED_ENDS)


# --- reports ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ActivityRow:
    """The jobs of one type that are in one state, of those created in a period."""

    type: str
    status: str
    count: int
    attempts: int
    mean_seconds: float | None  # of the last execution of what completed or is dead


@dataclass(frozen=True)
class FailureRow:
    """A job that is dead or waits to be tried again."""

    id: str
    type: str
    status: str
    error: str
    failed_at: datetime | None


@repeated
def activity(since: datetime, until: datetime) -> list[ActivityRow]:
    """Return what became of the jobs created in [since, until), by type and state."""
    # A cancelled job has ended when somebody cancelled it: perhaps days after it ran.
    ran = {
        "$cond": [
            {"$in": ["$status", [State.COMPLETED, State.DEAD]]},
            {"$subtract": ["$finished_at", "$started_at"]},
            None,
        ]
    }
    pipeline: list[dict[str, Any]] = [
        {"$match": _created(since, until)},
        {
            "$group": {
                "_id": {"type": "$type", "status": "$status"},
                "count": {"$sum": 1},
                "attempts": {"$sum": "$attempt"},
                "mean_ms": {"$avg": ran},
            }
        },
        {"$sort": {"_id.type": 1, "_id.status": 1}},
    ]
    return [
        ActivityRow(
            row["_id"]["type"],
            row["_id"]["status"],
            row["count"],
            row["attempts"],
            None if row["mean_ms"] is None else row["mean_ms"] / 1000,
        )
        for row in collection("jobs").aggregate(pipeline)
    ]


def failures(since: datetime, until: datetime, limit: int = 100) -> list[FailureRow]:
    """Return the failed jobs created in [since, until), the newest first."""
    failed = Job.objects.filter(
        status__in=[State.DEAD.value, State.RETRYING.value],
        id__gte=id_near(since, -SLACK),
        created_at__gte=since,
        created_at__lt=until,
    )
    return [
        FailureRow(
            str(job.id),
            job.type,
            job.status,
            job.error or "",
            job.attempts[-1].ended_at if job.attempts else None,
        )
        for job in failed.order_by("-id")[:limit]
    ]


def _created(since: datetime, until: datetime) -> Mapping[str, Any]:
    return {"$and": between("created_at", since, until)}


def job_type(name: str) -> registry.JobType[..., Any]:
    """Return a job type. Raises `NotFound`."""
    found = registry.get(name)
    if found is None:
        raise NotFound(f"There is no job type {name!r} here.")
    return found


def queue(name: str) -> Queue:
    """Return a known queue. Raises `NotFound`."""
    found = _queues({"_id": name})
    if not found:
        raise NotFound(f"There is no queue {name!r}.")
    return found[0]


def job_types() -> Sequence[registry.JobType[..., Any]]:
    """Return every job type that this process knows."""
    return registry.all_types()
