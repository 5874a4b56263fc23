"""Every verb. API, pages, commands and workers change jobs through here and nowhere else."""

import random
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, Literal

import structlog
from bson import ObjectId
from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.core.exceptions import ValidationError
from pydantic_core import to_jsonable_python
from redis import Redis
from redis.exceptions import RedisError

from jobs import (
    accounts,
    audit,
    backoff,
    counting,
    idempotency,
    lanes,
    letters,
    logins,
    mongodb,
    operations,
    origin,
    registry,
    repository,
    roles,
    samples,
    search,
    secrets,
    selectors,
    tokens,
)
from jobs.claims import Asked, ClaimedJob, End, Hint, Holding
from jobs.clients import Document
from jobs.counting import Written
from jobs.errors import (
    FieldError,
    IdempotencyConflict,
    IllegalMove,
    InvalidRequest,
    NotFound,
    OutOfScope,
    StoreDown,
    Unstorable,
)
from jobs.models import GroupNote, Job, SavedView
from jobs.query import parse
from jobs.registry import Lane, Options
from jobs.requests import Request, new_jobs
from jobs.selectors import JobFilter
from jobs.states import ALLOWED, ENDED, REQUEUEABLE, WAITING, Action, State, sources

log = structlog.get_logger(__name__)

REPAIR_HEAD = 50  # ids read from the head of a lane
REPAIR_BATCH = 20_000  # ids pushed into a lane at once: seconds of work, not all of the backlog
REPAIR_GRACE = timedelta(seconds=1)  # a job may be between its two stores for that long
PROMOTE_BATCH = 1_000
FROZEN_MOST = 500_000  # jobs in one operation: some 30 MB and seconds to preview
AT_ONCE_SECONDS = 2.0
TYPED_ABOVE = 1_000  # jobs in an operation whose number a person has to type
EXPORTED_MOST = 100_000  # jobs in one export
SAVED_VIEWS_MOST = 30  # of one person
NOTE_MOST = 1_000  # characters
TOKEN_SALT = "operation"  # noqa: S105 - tells our signatures apart
COUNTED_SECONDS = 2.0  # within which the end of a job is nearly always counted
COUNT_BATCH = 200  # jobs locked at once: for tens of milliseconds
EXPIRE_BATCH = 500
GIVE_BACK_BATCH = 100  # so few that also a MongoDB too slow for a claim of 500 gets on with it
NEW_SECONDS = 1.0  # in which most jobs are claimed
ABANDONED_SECONDS = 3.0  # a transaction lasts milliseconds; a call that meets it waits for 6 s
LEFT_BEHIND_SECONDS = 10.0  # a record in progress is not disturbed for that long
CANCEL_SECONDS = 5.0  # how long a cancelled coroutine may take to end, before its worker is killed
APART_SECONDS = 20.0  # over which jobs that crashed together twice are spread


# --- enqueue ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accepted:
    """The ids of accepted jobs, in the order of their requests."""

    ids: list[str]
    replayed: bool = False  # they had been accepted before, under the same key


def enqueue(type: str, payload: Mapping[str, Any], *, key: str | None = None, **chosen: Any) -> str:
    """Accept one job and return its id; see `Request` for what may be chosen.

    With a `key`, a repetition returns the same id: see `accept`.
    """
    return enqueue_many([Request(type=type, payload=payload, **chosen)], key=key)[0]


def enqueue_payload(type: str, payload: Mapping[str, Any], options: Options) -> str:
    """Accept one job as `JobType.enqueue` asks for it, and return its id."""
    chosen = {name: getattr(options, name) for name in Options.__dataclass_fields__}
    return enqueue(type, payload, key=chosen.pop("idempotency_key"), **chosen)


def enqueue_many(requests: Sequence[Request], *, key: str | None = None) -> list[str]:
    """Accept all of these jobs or none, and return their ids in the same order; see `accept`."""
    return accept(requests, key=key).ids


def accept(
    requests: Sequence[Request],
    *,
    key: str | None = None,
    scope: str = "",
    within: frozenset[str] | None = None,
    copied_from: ObjectId | None = None,
) -> Accepted:
    """Accept all of these jobs or none.

    They are durable once this returns; Redis being away does not matter. Raises `InvalidRequest`
    (each fault's field begins with its place in the list, when there are several) and `StoreDown`,
    after which it is unknown whether they were accepted.

    A `key` makes it safe to ask again: for 24 hours, the same requests under the same key get the
    same ids and nothing is stored; others raise `IdempotencyConflict`. `scope` is whose key it is.
    `within` are the queues that the caller may use (`None`: all), or else `OutOfScope` is raised.
    `copied_from` is the job that was edited and is requeued as this one: its secrets, which the
    caller need not know, do not tell it apart from other requests under its key.
    """
    if not requests:
        return Accepted([])
    if key is not None:
        idempotency.check(key)  # before it becomes a part of the jobs
    now = mongodb.now()
    lineage = {
        "request_id": origin.current().request_id,
        "idempotency_key": key,
        "copied_from": copied_from,
    }
    known = {name: value for name, value in lineage.items() if value}
    with mongodb.store_errors():
        jobs = new_jobs(requests, now, known)
    if within is not None:
        _check_scope([job.begins.lane.queue for job in jobs], within)
    ids = [job.id for job in jobs]
    named = (
        idempotency.accepted_request(key, scope, _digest(requests, copied_from), ids, now)
        if key is not None
        else None
    )
    for queue in {job.begins.lane.queue for job in jobs}:
        _know_queue(queue)
    earlier = repository.insert(jobs, named)
    if earlier and named:
        # Nothing goes to Redis: what is missing there, repair puts back.
        _check_same(earlier, named, "stored")
        return Accepted([str(id) for id in earlier["ids"]], replayed=True)
    pending = (job for job in jobs if job.begins.status == State.PENDING)
    lanes.push((job.id, job.begins.lane) for job in pending)
    return Accepted([str(id) for id in ids])


def _digest(requests: Sequence[Request], copied_from: ObjectId | None) -> str:
    if copied_from is None:
        return idempotency.digest(requests)
    # Without their secrets: by their digest somebody could find out whether a guess is right.
    shown = [
        replace(request, payload=secrets.mask_given(request.type, dict(request.payload)))
        for request in requests
    ]
    return idempotency.digest(shown, copied_from=copied_from)


def _check_scope(queues: Sequence[str], within: frozenset[str]) -> None:
    said = f"This token may submit to these queues: {', '.join(sorted(within))}."
    faults = [
        FieldError(f"jobs.{place}.queue" if len(queues) > 1 else "queue", said)
        for place, queue in enumerate(queues)
        if queue not in within
    ]
    if faults:
        raise OutOfScope(*faults[:100])


def _check_same(earlier: Mapping[str, Any], named: Mapping[str, Any], done: str) -> None:
    """Raise `IdempotencyConflict` unless both requests of that key asked for the same."""
    if earlier["digest"] != named["digest"]:
        raise IdempotencyConflict(
            f"This idempotency key belongs to another request. Nothing was {done}: "
            "use a new key for a new request."
        )


@cache
def _know_queue(name: str) -> None:
    repository.know_queue(name)


# --- the life of a claim ----------------------------------------------------------------------


def claim(
    client: Redis,
    queues: Sequence[str],
    *,
    worker: ObjectId,
    count: int,
    batch: ObjectId | None = None,
    empty: bool = False,
) -> list[ClaimedJob]:
    """Take up to `count` jobs for `worker`, in strict priority; sleep up to a second for one.

    `empty`: the lanes were, so do not look before sleeping.
    After `StoreDown` they may have been taken all the same: `give_back_batches` of `batch`, a
    name for this very call, puts that right.
    """
    ids = lanes.fetch(client, lanes.in_order(queues), count, empty=empty)
    return repository.claim(ids, worker, batch) if ids else []


def completion(job: ClaimedJob, *, started: float, ended: float, **result: Any) -> End:
    """Return the end of an execution that went well."""
    return End(
        job=job,
        status=State.COMPLETED,
        outcome="completed",
        started=started,
        ended=ended,
        keep_seconds=_retention_seconds(),
        **result,
    )


def failure(job: ClaimedJob, *, outcome: str = "failed", **details: Any) -> End:
    """Return the end of an execution that failed: it retries after its backoff, or is dead."""
    dead = job.attempt >= job.max_attempts
    return End(
        job=job,
        status=State.DEAD if dead else State.RETRYING,
        outcome=outcome,
        delay_seconds=None if dead else _backoff_seconds(job),
        **details,
    )


def crash(
    job: ClaimedJob, *, shared: bool = False, outcome: str = "crashed", **details: Any
) -> End:
    """Return the end of an execution that took its worker with it: no attempt, but a crash.

    `shared`: others ran there too, and any of them may be the cause. After a second such crash
    each comes back at a moment of its own, so that the next one charges the cause alone.
    """
    dead = job.crashes + 1 >= settings.JOB_MAX_CRASHES
    apart = shared and job.crashes > 0 and not dead
    return End(
        job=job,
        status=State.DEAD if dead else State.RETRYING if apart else State.PENDING,
        outcome=outcome,
        consumed=0,
        crashes=1,
        delay_seconds=random.uniform(0, APART_SECONDS) if apart else None,  # noqa: S311 - spreads
        error_type="WorkerLost",
        **details,
    )


def _backoff_seconds(job: ClaimedJob) -> float:
    job_type = registry.get(job.type)
    base = job_type.backoff if job_type else None
    return backoff.delay_seconds(
        job.attempt, settings.JOB_BACKOFF_SECONDS if base is None else base
    )


def _retention_seconds() -> float:
    return float(settings.JOB_RETENTION_DAYS * 86400)


def record(
    worker: ObjectId, ends: Sequence[End], uncounted: list[Written] | None = None
) -> list[End]:
    """Write how executions ended. Return those refused: the job had moved on without them.

    They are counted at once, or where there is such a list, by the next `count_ends` of it.
    """
    refused, written = repository.record(worker, ends)
    if uncounted is None:
        count_ends([written])
    else:
        uncounted.append(written)
    for end in refused:
        log.warning("job.end_refused", job=str(end.id), claim=end.claim, outcome=end.outcome)
    if refused:
        repository.count(repository.REFUSED_ENDS, len(refused))
    return refused


def count_ends(written: Sequence[Written]) -> None:
    """Take these ends into the totals and minutes; what cannot be, a steward does in some seconds.

    Until then the totals find them by their receipts, so it may wait: it costs as much for many.
    """
    try:
        if written:
            counting.count_ends(written)
    except StoreDown as error:
        log.warning("ends.left_uncounted", groups=len(written), error=str(error)[:200])


def give_back(worker: ObjectId, jobs: Sequence[ClaimedJob] | None = None) -> int:
    """Return jobs that `worker` holds (all of them, or these) to the head of their lanes.

    No attempt is used up. Returns how many there were.
    """
    return _give_back(partial(repository.give_back, worker, jobs))


def give_back_batches(worker: ObjectId, batches: Sequence[ObjectId]) -> int:
    """As `give_back`, for what `worker` holds by calls of `claim` that failed."""
    return _give_back(partial(repository.give_back_batches, worker, batches))


def _give_back(some: partial[list[Hint]]) -> int:
    returned: list[Hint] = []
    try:
        while found := some(GIVE_BACK_BATCH):
            returned += found
            if len(found) < GIVE_BACK_BATCH:
                break
    finally:  # a slow MongoDB may have taken only a part
        lanes.push_at_head(returned)
    return len(returned)


# --- what people do ---------------------------------------------------------------------------


def requeue(id: str, *, actor: str) -> None:
    """Make a dead or cancelled job pending again, in place: type, payload and priority stay.

    Raises `NotFound`, `IllegalMove`.
    """
    moved = repository.requeue({"_id": selectors.read_id(id)})
    if not moved:
        raise _refusal(id, "requeued", REQUEUEABLE)
    lanes.push(moved)
    audit.record(actor, "requeue", id, after={"status": State.PENDING.value})


def run_now(id: str, *, actor: str) -> None:
    """Make a job that waits for a time pending at once. Raises `NotFound`, `IllegalMove`."""
    moved = repository.run_now(selectors.read_id(id))
    if not moved:
        raise _refusal(id, "run now", WAITING)
    lanes.push(moved)
    audit.record(actor, "run", id, after={"status": State.PENDING.value})


def resubmit(
    id: str,
    request: Request,
    *,
    actor: str,
    key: str | None = None,
    within: frozenset[str] | None = None,
) -> Accepted:
    """Accept `request`, a job that has ended and was edited, as a new job.

    The original stays and both name each other; one that is dead is discarded, so that the dead
    letters are those that nobody has seen to. A `key` of the actor's and `within` are as for
    `accept`. Raises `NotFound`, `IllegalMove` and what `accept` does.
    """
    original = selectors.read_id(id)
    again = key is not None and repository.was_accepted(idempotency.name(key, actor))
    if not again and repository.status(original) not in ENDED:
        raise _refusal(id, "edited and requeued", ENDED)
    accepted = accept([request], key=key, scope=actor, within=within, copied_from=original)
    (new,) = accepted.ids
    if repository.copy_of(original) == ObjectId(new):
        return accepted  # all of it was done the first time
    dead = {"$and": [{"_id": original, "status": State.DEAD}]}  # not what was requeued meanwhile
    discarded = bool(repository.cancel(dead, _retention_seconds()))
    audit.record(actor, "resubmit", id, after={"job": new, "discarded": discarded})
    repository.name_copy(original, ObjectId(new))  # the last step: a retry begins before it
    return accepted


def cancel(id: str, *, actor: str, seen: str = "") -> None:
    """Stop a job for good. One that runs is not interrupted, but its end is no longer recorded.

    Its `ctx.should_stop` becomes true within about 2 s. With `seen`, only while that is its state:
    a person who discards a dead job does not stop what a colleague has requeued meanwhile. Raises
    `NotFound`, `IllegalMove`.
    """
    chosen: Document = {"_id": selectors.read_id(id)}
    if seen:
        chosen["$and"] = [{"status": seen}]
    if not repository.cancel(chosen, _retention_seconds()):
        raise _refusal(id, "cancelled", sources(State.CANCELLED), seen)
    audit.record(actor, "cancel", id, after={"status": State.CANCELLED.value})


def delete(id: str, *, actor: str) -> None:
    """Delete a job that has ended, and count it out. Raises `NotFound`, `IllegalMove`."""
    until = time.monotonic() + COUNTED_SECONDS
    while not repository.delete(selectors.read_id(id)):
        status = repository.status(selectors.read_id(id))
        if status is None:
            raise NotFound(f"There is no job {id}.")
        if status not in ENDED:
            ended = ", ".join(sorted(ENDED))
            raise IllegalMove(f"The job is {status}; only what is {ended} can be deleted.")
        if time.monotonic() > until:
            raise IllegalMove("The job has just ended and is being counted: try again in 10 s.")
        time.sleep(0.1)
    audit.record(actor, "delete", id)


def reveal(id: str, *, actor: str) -> None:
    """Write down that somebody is about to see a job's secrets. Raises `NotFound`."""
    if repository.status(selectors.read_id(id)) is None:
        raise NotFound(f"There is no job {id}.")
    audit.record(actor, "reveal", id)


def pause(queue: str, *, actor: str, reason: str = "", until: datetime | None = None) -> None:
    """Stop handing out a queue's jobs within a second or so; what runs goes on.

    It ends by itself at `until`, by MongoDB's clock; `None`: when somebody resumes it. Of a queue
    that is paused it changes who, why and until when. Raises `NotFound`, `InvalidRequest`.
    """
    if until is not None and until <= mongodb.now():
        raise InvalidRequest(FieldError("until", "This time is over: use one to come."))
    if not repository.pause(queue, actor, reason or None, until):
        raise NotFound(f"There is no queue {queue!r}.")
    audit.record(
        actor,
        "pause",
        queue,
        detail=reason,
        after={"paused": True, "until": until and until.isoformat(timespec="seconds")},
    )


def resume(queue: str, *, actor: str) -> None:
    """Hand out a queue's jobs again. Raises `NotFound`."""
    if not repository.resume(queue):
        raise NotFound(f"There is no queue {queue!r}.")
    audit.record(actor, "resume", queue, after={"paused": False})


# --- bulk operations --------------------------------------------------------------------------


@dataclass(frozen=True)
class Preview:
    """Jobs as they were at a moment: `token` names exactly these, and no later one."""

    action: str
    count: int
    by_status: dict[str, int]
    by_type: dict[str, int]
    sample: list[Job]
    token: str
    expires_at: datetime


def preview(
    action: Action,
    chosen: JobFilter,
    *,
    actor: str,
    queues: Sequence[str] | None = None,
    reveal: bool = False,
) -> Preview:
    """Write down which jobs an action would move now, of these queues, or with `None` of all.

    No job is touched. The token is good for an hour, for this actor alone. Raises `InvalidRequest`
    for a filter that cannot be, or that finds more than `FROZEN_MOST` jobs, and `TooSlow`.
    `reveal`: as in `selectors.jobs`.
    """
    if chosen.status and chosen.status not in ALLOWED[action]:
        allowed = ", ".join(ALLOWED[action])
        raise InvalidRequest(FieldError("status", f"To {action} is possible from: {allowed}."))
    legal = {"status": {"$in": list(ALLOWED[action])}}
    matching = {"$and": [selectors.selection(chosen, queues, reveal=reveal), legal]}
    found = operations.read_matching(matching, FROZEN_MOST + 1)
    if found.total > FROZEN_MOST:
        fault = f"More than {FROZEN_MOST:,} jobs match. Narrow it, for example by created_before."
        raise InvalidRequest(FieldError("filter", fault))
    scope = {} if queues is None else {"queues": list(queues)}
    frozen = operations.freeze(action, {**_said_of(chosen), **scope}, actor, found)
    return Preview(
        action,
        found.total,
        dict(found.by_status),
        dict(found.by_type.most_common()),
        selectors.jobs_named(found.newest),
        signing.dumps({"operation": str(frozen["_id"]), "actor": actor}, salt=TOKEN_SALT),
        frozen["expire_at"],
    )


def _said_of(chosen: JobFilter) -> dict[str, Any]:
    """Return what a filter asks for as everybody may read it."""
    named = {name: value for name, value in vars(chosen).items() if value}
    if "query" in named:
        named["query"] = search.masked(chosen.query)
    if named.pop("ids", None):
        named["ticked"] = len(chosen.ids)
    said: dict[str, Any] = to_jsonable_python(named)
    return said


@dataclass(frozen=True)
class Frozen:
    """What a token names: a previewed operation."""

    id: ObjectId
    action: str
    total: int


def read_token(token: str, *, actor: str) -> Frozen:
    """Return what a preview's token names.

    Raises `InvalidRequest` for a token that is altered, over an hour old or another's.
    """
    try:
        named = signing.loads(token, salt=TOKEN_SALT, max_age=operations.PREVIEW_KEPT)
    except signing.BadSignature:
        fault = FieldError("token", "Preview again: the token is unknown or over an hour old.")
        raise InvalidRequest(fault) from None
    if named["actor"] != actor:
        raise InvalidRequest(FieldError("token", "Preview yourself: the token is another's."))
    found = operations.find(ObjectId(named["operation"]))
    if found is None:
        raise InvalidRequest(FieldError("token", "Preview again: the frozen set is deleted."))
    return Frozen(found["_id"], found["action"], found["total"])


def confirm(frozen: Frozen, typed: str) -> None:
    """Have a person who is about to touch many jobs say how many. Raises `InvalidRequest`."""
    said = typed.replace(",", "").strip()
    if frozen.total > TYPED_ABOVE and said != str(frozen.total):
        fault = f"Type how many jobs to {frozen.action}: {frozen.total:,}. Nothing was started."
        raise InvalidRequest(FieldError("count", fault))


@dataclass(frozen=True)
class Started:
    """An operation; `replayed`: it had been started before."""

    id: str
    replayed: bool


def start_operation(frozen: Frozen, *, actor: str, key: str | None = None) -> Started:
    """Start what was previewed; stewards do it in the background, see `operate`.

    Again, it answers the same operation and starts nothing. Raises `IdempotencyConflict` for a key
    that belongs to another request, `InvalidRequest` for what is no key.
    """
    request = None
    if key is not None:
        digest = idempotency.digest_of_operation(frozen.id)
        request = idempotency.accepted_request(key, actor, digest, [frozen.id], mongodb.now())
    started, earlier = operations.start(frozen.id, request)
    if earlier and request:
        _check_same(earlier, request, "started")
    if started:
        detail = f"{started['action']} {started['total']} jobs: {started['filter'] or 'all'}"
        audit.record(actor, "operation_start", str(frozen.id), detail=detail)
    return Started(str(frozen.id), replayed=started is None)


def stop_operation(id: str, *, actor: str) -> None:
    """Stop a running operation after the batch in hand. Raises `NotFound`, `IllegalMove`."""
    stopped = operations.stop(_operation_id(id))
    if stopped is None:
        raise _not_so(id, "stopped", operations.RUNNING)
    audit.record(actor, "operation_stop", id, detail=_progress(stopped))


def resume_operation(id: str, *, actor: str) -> None:
    """Let an operation go on where it was stopped or failed. Raises `NotFound`, `IllegalMove`."""
    resumed = operations.resume(_operation_id(id))
    if resumed is None:
        raise _not_so(id, "resumed", f"{operations.STOPPED} or {operations.FAILED}")
    audit.record(actor, "operation_resume", id, detail=_progress(resumed))


def _operation_id(id: str) -> ObjectId:
    return selectors.read_id(id, "An operation")


def _not_so(id: str, verb: str, states: str) -> Exception:
    found = operations.find(_operation_id(id))
    if found is None or found["state"] == operations.PREVIEWED:
        return NotFound(f"There is no operation {id}.")
    return IllegalMove(
        f"The operation is {found['state']}; only one that is {states} can be {verb}."
    )


def _progress(operation: Mapping[str, Any]) -> str:
    return (
        f"{operation['action']}: {operation['done']} of {operation['total']} jobs, "
        f"{operation['skipped']} had moved on"
    )


def operate() -> int:
    """Do the next batch of each running operation; return how many jobs these had.

    Safe if two do it, and whoever goes on after a crash goes on where the last batch ended.
    """
    return sum(map(_operate, operations.running()))


def operate_at_once(id: str) -> None:
    """Do as much of an operation as can be done in `AT_ONCE_SECONDS`: a small one, all of it."""
    until = time.monotonic() + AT_ONCE_SECONDS
    while _operate(ObjectId(id)) and time.monotonic() < until:
        pass


def _operate(id: ObjectId) -> int:
    moves = operations.moves(_retention_seconds())
    try:
        step = operations.advance(id, moves)
    except (LookupError, Unstorable) as error:
        if failed := operations.fail(id, str(error)):
            audit.record(
                failed["actor"], "operation_fail", str(id), detail=f"{_progress(failed)}: {error}"
            )
        return 0
    operation = step.operation
    if operation is None:
        return 0
    if operation["action"] == "requeue":
        lanes.push(step.moved)
    if operation["position"] >= operation["batches"] and (ended := operations.complete(id)):
        audit.record(ended["actor"], "operation_complete", str(id), detail=_progress(ended))
    return step.looked_at


# --- what people keep and take with them ------------------------------------------------------


def save_view(user: User, name: str, query: str) -> None:
    """Keep a query for `user` under a name; the one it named before is replaced.

    Raises `InvalidRequest` for an empty name, a query that cannot be, or more than
    `SAVED_VIEWS_MOST`.
    """
    name = name.strip()
    if not 0 < len(name) <= 60 or not name.isprintable():
        raise InvalidRequest(FieldError("name", "Use 1 to 60 characters."))
    if not parse(query):
        raise InvalidRequest(FieldError("query", "Search for something first, then save it."))
    views = SavedView.objects.filter(user=user)
    if views.exclude(name=name).count() >= SAVED_VIEWS_MOST:
        fault = f"You have {SAVED_VIEWS_MOST} saved views: delete one first."
        raise InvalidRequest(FieldError("name", fault))
    SavedView.objects.update_or_create(user=user, name=name, defaults={"query": query})


def delete_view(user: User, id: str) -> str:
    """Forget a query that `user` kept, and return its name. Raises `NotFound`."""
    view = SavedView.objects.filter(user=user, pk=selectors.read_id(id, "A view")).first()
    if view is None:
        raise NotFound(f"There is no saved view {id} of yours.")
    view.delete()
    return str(view)


def note_group(alike: str, text: str, *, actor: str) -> None:
    """Write down something about dead letters that are alike; nothing: delete what is there.

    Raises `NotFound`, `InvalidRequest` for a text that is too long.
    """
    text = text.strip()
    if len(text) > NOTE_MOST:
        raise InvalidRequest(FieldError("note", f"Use at most {NOTE_MOST:,} characters."))
    if any("\ud800" <= each <= "\udfff" for each in text):  # MongoDB holds none alone
        raise InvalidRequest(FieldError("note", "It holds half a character: type it anew."))
    letters.dead_group(alike)
    if text:
        kept = {"text": text, "actor": actor, "at": mongodb.now()}
        GroupNote.objects.update_or_create(fingerprint=alike, defaults=kept)
    else:
        GroupNote.objects.filter(fingerprint=alike).delete()
    audit.record(actor, "note", alike, detail=text or "deleted")


def export_jobs(chosen: JobFilter, form: str, *, actor: str, reveal: bool = False) -> Iterator[Job]:
    """Return the newest jobs that match, at most `EXPORTED_MOST`, masked; the audit says who did.

    Raises `InvalidRequest`. `reveal`: secret payload fields may be searched; they stay masked.
    """
    selectors.selection(chosen, reveal=reveal)
    audit.record(actor, "export", "jobs", detail=f"{form}: {_said_of(chosen) or 'all'}")
    return selectors.every_job(chosen, EXPORTED_MOST, reveal=reveal)


# --- of one job or queue ----------------------------------------------------------------------


def _refusal(id: str, verb: str, allowed: Collection[State], seen: str = "") -> Exception:
    status = repository.status(selectors.read_id(id))
    if status is None:
        return NotFound(f"There is no job {id}.")
    if seen and status in allowed:
        return IllegalMove(f"The job has moved on meanwhile: it is {status} now.")
    states = ", ".join(sorted(allowed))
    return IllegalMove(f"The job is {status}; only what is {states} can be {verb}.")


# --- tokens and logins ------------------------------------------------------------------------


def issue_token(user: User, *, actor: str, **chosen: Any) -> str:
    """Make a token for `user` and return it, this once: see `tokens.issue`."""
    made, token = tokens.issue(user, **chosen)
    queues = ", ".join(made.queues) or "all queues"
    until = f"until {made.expires_at:%Y-%m-%d %H:%M} UTC" if made.expires_at else "for good"
    detail = f"as {user.get_username()}, {made.role or 'all rights of the user'}, {queues}, {until}"
    audit.record(actor, "issue_token", str(made), detail=detail)
    return token


def revoke_token(id: str, *, actor: str) -> str:
    """End a token at once, and return what it is called. Raises `NotFound`."""
    revoked = str(tokens.revoke(id))
    audit.record(actor, "revoke_token", revoked)
    return revoked


def issue_token_to(name: str, role: roles.Role, *, actor: str, **chosen: Any) -> str:
    """Make a token of a role for the account `name` and return it, this once.

    An account that is missing is made, for a program: without a password. A program whose role is
    less than that gets it: what else it has tokens for goes on. A person keeps theirs. Raises
    `InvalidRequest`, and then nothing was changed.
    """
    tokens.check(role=role, **chosen)
    return issue_token(_program(name, role, actor=actor), actor=actor, role=role, **chosen)


def _program(name: str, role: roles.Role, *, actor: str) -> User:
    user = User.objects.filter(username=name).first() or _new_program(name)
    if not user.is_active:
        fault = f"{name} is not active, so its tokens are refused. Activate it first."
        raise InvalidRequest(FieldError("name", fault))
    if not user.has_usable_password() and not roles.has_at_least(user, role):
        roles.give(user, role)
        audit.record(actor, "give_role", name, after={"role": role})
    return user


def unlock(name: str, *, actor: str) -> int:
    """Forget the failed logins of a name, so that it may try again; return how many there were."""
    forgotten = logins.forget(name)
    audit.record(actor, "unlock", name, detail=f"{forgotten} failed logins forgotten")
    return forgotten


def give_role(id: str, role: str, *, actor: str) -> str:
    """Make `role` the only role of a user: see `accounts.give_role`."""
    return accounts.give_role(id, role, actor=actor)


def set_active(id: str, active: bool, *, actor: str) -> str:
    """Let a user in again, or out everywhere at once: see `accounts.set_active`."""
    return accounts.set_active(id, active, actor=actor)


def unlock_user(id: str, *, actor: str) -> str:
    """Forget the failed logins of a user; return their name. Raises `NotFound`."""
    name = accounts.name_of(id)
    unlock(name, actor=actor)
    return name


def _new_program(name: str) -> User:
    user = User(username=name)
    user.set_unusable_password()
    try:
        user.clean_fields()
    except ValidationError as error:
        raise InvalidRequest(FieldError("name", " ".join(error.messages))) from None
    user.save()
    return user


# --- secrets ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rotated:
    """How many values were encrypted again, and how many no key of ours opens."""

    done: int
    undecryptable: int


def rotate_payload_keys() -> Rotated:
    """Store every payload and result as `secrets.seal` would now; what moved on is left alone."""
    done = undecryptable = 0
    for id, field, stored in repository.sealable():
        if secrets.is_current(stored):
            continue
        try:
            sealed = secrets.seal(secrets.open_(stored))
        except secrets.Undecryptable:
            undecryptable += 1
            continue
        done += repository.replace_value(id, field, stored, sealed)
    return Rotated(done, undecryptable)


# --- what the steward does --------------------------------------------------------------------


def due_in() -> float | None:
    """Return the seconds until the next waiting job is due, negative once it is.

    `None`: none waits.
    """
    due = repository.next_due()
    return None if due is None else (due - mongodb.now()).total_seconds()


def promote() -> int:
    """Put what is due into its lane; return how many jobs that were."""
    due = repository.promote(PROMOTE_BATCH)
    lanes.push(due)
    return len(due)


def count() -> int:
    """Take into the totals what was stored or recorded without them; return how many that were.

    Single jobs and few of one call are, for a moment, and ends whose recorder died before it could
    count them.
    """
    left_behind = counting.count_left_behind(LEFT_BEHIND_SECONDS, COUNT_BATCH)
    return left_behind + counting.count_new(NEW_SECONDS, COUNT_BATCH)


def abort_abandoned() -> int:
    """Free what somebody who died in a transaction had locked; return how many such there were."""
    aborted = counting.abort_abandoned(ABANDONED_SECONDS)
    if aborted:
        log.warning("transactions.aborted", transactions=aborted)
    return aborted


def sample(last: datetime | None) -> Document | None:
    """Return how many jobs there are, for the report; `None`: so it was said in this minute."""
    return samples.take(last)


def recount() -> int:
    """Count every job and put the totals right, whatever goes on meanwhile.

    Returns how many jobs they were off by: none, unless something else wrote to MongoDB.
    """
    off = sum(map(abs, counting.correct().values()))
    if off:
        log.warning("totals.corrected", jobs=off)
    return off


def expire() -> int:
    """Delete jobs whose time to be kept is over; return how many that were."""
    return repository.expire(EXPIRE_BATCH)


def repair(queue: str, *, dry_run: bool = False) -> dict[Lane, int]:
    """Put back into a queue's lanes the pending jobs that are not there; return how many per lane.

    Head-of-line repair: lanes are first in, first out, so a pending job older than the next one to
    be taken is not in the lane. Raises `RedisError`, `StoreDown`.
    """
    mended = dict.fromkeys(lanes.in_order([queue]), 0)
    if not repository.any_pending([queue]):
        return mended  # as in an idle system: one question instead of a dozen
    for lane in mended:
        before = lost_before(lane)
        lost = repository.oldest_pending(lane, before, REPAIR_BATCH) if before else []
        if not dry_run and not lanes.push_at_head(lost):
            raise RedisError(f"Redis did not take {len(lost)} ids of lane {'/'.join(lane)}.")
        mended[lane] = len(lost)
        if mended[lane] and not dry_run:
            log.warning("lane.repaired", queue=lane.queue, priority=lane.priority, jobs=len(lost))
    return mended


def lost_before(lane: Lane) -> datetime | None:
    """Return the moment before which whatever is pending is not in the lane.

    `None`: its head is being taken faster than it can be read, so there is nothing to say.
    """
    now = mongodb.now()
    ids = lanes.head(lane, REPAIR_HEAD)
    in_line = repository.pending_among(ids)
    if ids and not in_line and lanes.head(lane, REPAIR_HEAD) != ids:
        return None
    return min([now, *in_line]) - REPAIR_GRACE


def reap(lost_seconds: float) -> int:
    """Take back the jobs of workers that have been silent for too long; return how many.

    Whoever could say which of them ran is gone too, so each is charged a crash. A fresh worker
    claims one job at a time, and what was lost twice comes back at different times: a job that
    kills trees soon stands alone.
    """
    total = 0
    for worker in repository.lost_holders(lost_seconds):
        held = repository.held_by(worker)
        error = f"Its worker gave no sign of life for {lost_seconds:g} s."
        ends = [crash(job, shared=True, outcome="lost", error=error) for job in held]
        lanes.push_at_head(_record_deaths(worker, ends))
        total += len(held)
    for worker in repository.silent_workers(lost_seconds):
        repository.end_worker(worker, f"lost: no sign of life for {lost_seconds:g} s")
        log.error("worker.lost", worker=str(worker))
    return total


@dataclass(frozen=True)
class Execution:
    """What a worker's slot was running when the worker died."""

    id: ObjectId
    claim: int
    overdue: bool  # it ran past its timeout, which is why the worker was killed


def bury(worker: ObjectId, reason: str, running: Sequence[Execution], *, blame: bool) -> None:
    """Take back what a dead worker held, each job by its share in the death.

    With `blame`, what was overdue failed and, if nothing was, what ran crashed. The rest, and
    all without `blame`, is given back untouched.
    """
    charged = [execution for execution in running if execution.overdue] or list(running)
    ends = []
    for execution in charged if blame else ():
        if job := repository.find_held(worker, execution.id, execution.claim):
            ends.append(_death(job, reason, execution, shared=len(charged) > 1))
    crashed = _record_deaths(worker, ends)
    give_back(worker)
    lanes.push_at_head(crashed)  # last in, first out: they were taken before what waited
    repository.end_worker(worker, reason)


def _death(job: ClaimedJob, reason: str, execution: Execution, *, shared: bool) -> End:
    if execution.overdue:
        error = f"It ran past its timeout of {timeout_seconds(job.type):g} s and was killed."
        return failure(job, outcome="timed_out", error_type="TimeoutError", error=error)
    error = f"The worker died while running it: {reason}."
    return crash(job, shared=shared, error=error)


def _record_deaths(worker: ObjectId, ends: Sequence[End]) -> list[Hint]:
    """Record them, and return where those stand that are pending again."""
    if not ends:
        return []
    refused = {end.id for end in record(worker, ends)}
    pending = [end.id for end in ends if end.status is State.PENDING and end.id not in refused]
    return repository.hints(pending)


def moved_on(holdings: Sequence[Holding]) -> list[Holding]:
    """Return those that are no longer so: the job was cancelled, or taken from that worker.

    One read for all of them, none for none.
    """
    if not holdings:
        return []
    held = repository.holdings([holding.job for holding in holdings])
    return [holding for holding in holdings if holding not in held]


def timeout_seconds(type: str) -> float:
    """Return how long a job of this type may run."""
    job_type = registry.get(type)
    return float((job_type and job_type.timeout) or settings.JOB_TIMEOUT_SECONDS)


def kill_seconds(type: str) -> float:
    """Return after how long the worker that runs a job of this type is killed.

    A coroutine is cancelled at its timeout, which costs no worker; one that does not heed it, or
    blocks the loop, is killed as well.
    """
    job_type = registry.get(type)
    return timeout_seconds(type) + (CANCEL_SECONDS if job_type and job_type.is_async else 0.0)


# --- workers ----------------------------------------------------------------------------------


def register_worker(worker: ObjectId, queues: Sequence[str], **facts: Any) -> None:
    """Make a worker's boot known, and its queues. It must come before the first claim."""
    for queue in queues:
        repository.know_queue(queue)
    repository.register_worker({"_id": worker, "queues": list(queues), **facts})


def heartbeat(
    workers: Sequence[ObjectId], vitals: Sequence[Mapping[str, Any]] = ()
) -> tuple[datetime, list[ObjectId]]:
    """Say that these workers live, and how each does: fields of `models.Worker`.

    Returns MongoDB's time, to be compared with one's own, and which of them have no record: they
    count as lost until they are registered anew.
    """
    unknown = repository.heartbeat(workers, [dict(each) for each in vitals])
    return mongodb.server_time(), unknown


Ask = Literal["quiet", "resume", "stop"]


def ask_workers(id: str, what: Ask, *, actor: str) -> None:
    """Ask the `runworkers` of a worker to take no new job (`quiet`), to `resume`, or to `stop`.

    What runs goes on; a stop waits for it as long as after a SIGTERM. Its steward heeds it within
    about 2 s. Raises `NotFound`, `IllegalMove`.
    """
    found = repository.ask(selectors.read_id(id, "A worker"), what, actor)
    if found is None:
        raise NotFound(f"There is no worker {id}. They are forgotten a day after their end.")
    name, workers = found
    if not workers:
        raise IllegalMove(f"The runworkers {name} has stopped: there is nobody to heed it.")
    audit.record(actor, f"{what}_workers", name, detail=f"{workers} workers")


def asked(workers: Sequence[ObjectId]) -> Asked | None:
    """Return what was asked last of these workers; `None`: nothing."""
    return repository.asked(workers)


def end_worker(worker: ObjectId, reason: str) -> None:
    """Close the record of a worker that stopped by itself and holds nothing."""
    give_back(worker)
    repository.end_worker(worker, reason)


def is_leader(supervisor: ObjectId, within_seconds: float) -> bool:
    """Return whether this supervisor's steward should do the work of all: the oldest alive does.

    Two that both think so do no harm: every act of a steward is guarded.
    """
    live = repository.live_supervisors(within_seconds)
    return not live or live[0] == supervisor


def queues_paused() -> dict[str, bool]:
    """Return every known queue, and whether its jobs are not handed out."""
    return repository.queues()


def report_steward(
    supervisor: ObjectId,
    ages: Mapping[str, Mapping[str, Any]],
    *,
    sample: Document | None = None,
    **facts: Any,
) -> None:
    """Write down for the operators how a steward is: see `repository.report_steward`."""
    chores = {name: dict(age) for name, age in ages.items()}
    repository.report_steward(supervisor, facts, chores, sample)


def paused_queues() -> set[str]:
    """Return the queues whose jobs are not handed out."""
    return {name for name, paused in repository.queues().items() if paused}


def known_queues() -> list[str]:
    """Return the names of all queues."""
    return list(repository.queues())


def is_drained(queues: Sequence[str]) -> bool:
    """Return whether nothing in these queues is pending (paused ones do not count)."""
    return not repository.any_pending([name for name in queues if name not in paused_queues()])
