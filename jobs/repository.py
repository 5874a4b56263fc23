"""The thin layer over MongoDB: every write of a job, raw PyMongo, guarded.

Every state change is one write whose filter says from where it may come (`_from`), and whom the
job must belong to. Nothing matched means that somebody else was first: a normal branch.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar

import pymongo
from bson import DatetimeMS, ObjectId
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING, ReturnDocument, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DuplicateKeyError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from jobs import counting, fingerprint, samples
from jobs.claims import Asked, ClaimedJob, End, Hint, Holding
from jobs.clients import Document, collection, mongo
from jobs.counting import Written, lane_of
from jobs.encoding import UNCOUNTED, NewJob
from jobs.errors import StoreDown
from jobs.mongodb import BY_ID, catch_up, clock, durable, now, repeated, store_errors
from jobs.registry import Lane
from jobs.sharing import Shared
from jobs.states import ENDED, REQUEUEABLE, WAITING, State, sources
from jobs.tallies import Changes

C = TypeVar("C", bound="ClaimedJob | End")

EPOCH = datetime.fromtimestamp(0, UTC)
NUMBERED: CodecOptions[Document] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_MS
)
KEPT_ATTEMPTS = 50  # the newest; a job requeued for ever must not outgrow a document
COMMAND_BYTES = 8 * 1024 * 1024  # a command may have twice as many
UNCOUNTED_MOST = 20  # jobs of a call: with so few a count costs a third of the call
INSERT_SECONDS = 10.0  # a caller waits no longer, where a transaction alone may go on for 120 s
NOW = "$$NOW"  # MongoDB's clock, the same for every machine
REFUSED_ENDS = "refused_ends"  # counted: executions that ended after their claim was over


# --- Accepting --------------------------------------------------------------------------------


def insert(jobs: Sequence[NewJob], request: Document | None = None) -> Document | None:
    """Store new jobs, all or none, durably: a majority has them in its journal on return.

    With the `request` that asked for them, that is stored too: the same `_id` is accepted once.
    Returns the earlier request of that `_id` if there is one, and then nothing was stored.
    """
    try:
        with pymongo.timeout(INSERT_SECONDS):
            return _accept(jobs, request)
    except StoreDown as error:
        # Without its cause: an `ExecutionTimeout` there would say that a question was too slow.
        raise StoreDown(str(error)) from None


@repeated
def _accept(jobs: Sequence[NewJob], request: Document | None) -> Document | None:
    try:
        _store(jobs, request)
    except (DuplicateKeyError, BulkWriteError):
        # Taken by an earlier request, or by our own first try, whose reply was lost.
        if request and (earlier := _settled("requests", _another(request))):
            return earlier[0]
        ours = {"_id": {"$in": [job.id for job in jobs]}}
        if len(_settled("jobs", ours, {"_id": 1})) != len(jobs):
            raise
    return None


def _another(request: Document) -> Document:
    return {"_id": request["_id"], "ids": {"$ne": request["ids"]}}


def _settled(name: str, selection: Document, fields: Document | None = None) -> list[Document]:
    """Return what a majority has of a selection, waiting for what is still on its way there.

    It may be the very write that was in the way.
    """
    majority = collection(name).with_options(
        read_concern=ReadConcern("majority"), read_preference=ReadPreference.PRIMARY
    )
    with mongo().client.start_session(causal_consistency=True) as session:
        catch_up(session)
        return list(majority.find(selection, fields, session=session))


def _insert_singles(documents: list[RawBSONDocument]) -> None:
    if len(documents) == 1:
        collection("jobs").insert_one(documents[0])
    else:
        collection("jobs").insert_many(documents, ordered=False)


_singles = Shared(_insert_singles, most=100)  # of 1 MB at most, and a message may have 48


def _store(jobs: Sequence[NewJob], request: Document | None) -> None:
    if len(jobs) == 1 and request is None:
        # A transaction would cost two more round trips; `count_new` counts it in a moment.
        _singles.add(jobs[0].document(UNCOUNTED))
        return
    changes = Changes()
    if len(jobs) <= UNCOUNTED_MOST:
        documents = [job.document(UNCOUNTED) for job in jobs]
    else:
        documents = [job.document() for job in jobs]
        alike = attrgetter("begins.lane", "begins.type", "begins.status")
        for (lane, type, status), count in Counter(map(alike, jobs)).items():
            changes.accepted(lane.queue, type, at=None, jobs=count)
            changes.entered(lane, status, count)

    def store(session: ClientSession) -> Changes:
        if request:
            collection("requests").insert_one(request, session=session)
        _insert_many(documents, session)
        return changes

    counting.counted(store)


def _insert_many(documents: Sequence[RawBSONDocument], session: ClientSession) -> None:
    if sum(len(document.raw) for document in documents) > COMMAND_BYTES:
        collection("jobs").insert_many(documents, session=session)
        return
    # The same, without a look at each document.
    reply = mongo().command("insert", "jobs", documents=documents, session=session)
    if reply.get("writeErrors"):
        raise BulkWriteError(reply)


@durable
def know_queue(name: str) -> None:
    """Have a document for the queue, so that it is listed and can be paused."""
    collection("queues").update_one({"_id": name}, [{"$set": QUEUE_DEFAULTS}], upsert=True)


PAUSE = ("paused_at", "paused_by", "paused_reason", "paused_until")
QUEUE_DEFAULTS = {field: {"$ifNull": [f"${field}", None]} for field in PAUSE}

# A pause ends by itself: whoever reads it compares with MongoDB's clock, so nobody has to be there.
GOES_ON = {
    "$or": [{"$eq": [QUEUE_DEFAULTS["paused_until"], None]}, {"$gt": ["$paused_until", NOW]}]
}
PAUSED: Document = {"$and": [{"$gt": ["$paused_at", None]}, GOES_ON]}
PAUSE_NOW = {field: {"$cond": [PAUSED, f"${field}", None]} for field in PAUSE}


# --- The life of a claim ----------------------------------------------------------------------


def claim(
    ids: Sequence[ObjectId], worker: ObjectId, batch: ObjectId | None = None
) -> list[ClaimedJob]:
    """Take those of `ids` that are pending, in that order. What is missing was a stale hint.

    After `StoreDown`, `give_back_batches` returns what may have been taken as `batch`.
    """
    return _claim(ids, worker, batch or ObjectId())


@durable
def _claim(ids: Sequence[ObjectId], worker: ObjectId, batch: ObjectId) -> list[ClaimedJob]:
    jobs = _numbered()
    if len(ids) == 1 and (document := _claim_one(jobs, ids[0], worker, batch)):
        return [_claimed(document)]
    if len(ids) > 1:
        _claim_once(jobs, ids, worker, batch)
    # All in one reply: the first would have 101 by default.
    these = {"_id": {"$in": list(ids)}, "batch": batch}
    held = jobs.find(these, CLAIM_FIELDS, batch_size=len(ids) + 1, hint=BY_ID)
    by_id = {document["_id"]: _claimed(document) for document in held}
    # A lane may hold an id twice: the job is still taken once.
    return [by_id[id] for id in dict.fromkeys(ids) if id in by_id]


def _numbered() -> Collection[Document]:
    """The jobs, with times as numbers: two datetimes take as long to read as all else of a job."""
    return collection("jobs").with_options(codec_options=NUMBERED)


def _claim_one(jobs: Any, id: ObjectId, worker: ObjectId, batch: ObjectId) -> Document | None:
    """One round trip where several jobs take two. `None`: stale, or taken by a try before."""
    guard = {"_id": id, **_from(State.RUNNING)}
    change = _claiming(worker, batch)
    after = ReturnDocument.AFTER
    found: Document | None = jobs.find_one_and_update(
        guard, change, CLAIM_FIELDS, return_document=after
    )
    return found


def _claiming(worker: ObjectId, batch: ObjectId) -> Document:
    return {
        "$set": {"status": State.RUNNING, "worker": worker, "batch": batch},
        "$inc": {"claim": 1},
        "$currentDate": {"started_at": True},
    }


def _claim_once(jobs: Any, ids: Sequence[ObjectId], worker: ObjectId, batch: ObjectId) -> None:
    guard = {"_id": {"$in": list(ids)}, **_from(State.RUNNING)}
    change = _claiming(worker, batch)
    try:
        jobs.update_many(guard, change, hint=BY_ID)
    except AutoReconnect:
        # The reply was lost: the batch token finds what the first try took, the guard keeps a
        # second try from taking it twice.
        jobs.update_many(guard, change, hint=BY_ID)


CLAIM_FIELDS = dict.fromkeys(
    (
        *("type", "queue", "priority", "payload", "attempt", "max_attempts", "crashes", "claim"),
        *("enqueued_at", "started_at", "uncounted"),
    ),
    1,
)


def _claimed(document: Document) -> ClaimedJob:
    # By position, in the order of the fields: by name it takes half as long again.
    return ClaimedJob(
        document["_id"],
        document["type"],
        lane_of(document),
        document["payload"],
        document["attempt"] + 1,
        document["max_attempts"],
        document["crashes"],
        document["claim"],
        document["enqueued_at"],
        document["started_at"] or document["enqueued_at"],
        time.monotonic(),
        counting.is_new(document),
    )


@durable
def record(worker: ObjectId, ends: Sequence[End]) -> tuple[list[End], Written]:
    """Write how executions ended, in one grouped update. Return those refused, and what to count.

    An end is refused when the job is no longer held by `worker` under that claim. Writing the same
    end twice is harmless, so a lost reply is answered by writing again.
    """
    newest = list(_newest(ends).values())
    receipt = counting.open_receipt(worker, newest)
    guard = _from(*{end.status for end in newest}, only=[State.RUNNING])
    held = {**guard, **_held(worker, newest)}
    change = _ending(worker, newest, receipt)
    written = collection("jobs").update_many(held, change, hint=BY_ID)
    recorded = newest if written.matched_count == len(newest) else _recorded(newest, receipt)
    refused = [] if len(recorded) == len(ends) else _unrecorded(ends)
    return refused, counting.changed_by(receipt, recorded)


def _recorded(ends: Sequence[End], receipt: ObjectId) -> list[End]:
    """Return which of these ends were written with that receipt."""
    ids = {document["_id"] for document in counting.written_with(receipt, [end.id for end in ends])}
    return [end for end in ends if end.id in ids]


def _unrecorded(ends: Sequence[End]) -> list[End]:
    """Return which of these ends are not in their jobs.

    The outcome tells an end of our own, written before its reply was lost, from that of a steward
    who took the same claim for lost.
    """
    fields = {"attempts.claim": 1, "attempts.outcome": 1}
    recorded = collection("jobs").find({"_id": {"$in": [end.id for end in ends]}}, fields)
    known = {
        (job["_id"], attempt["claim"], attempt["outcome"])
        for job in recorded
        for attempt in job["attempts"]
    }
    return [end for end in ends if (end.id, end.claim, end.outcome) not in known]


def _newest(claimed: Iterable[C]) -> dict[ObjectId, C]:
    """Return each job's newest claim: a zombie may end a job beside its successor."""
    return {one.id: one for one in sorted(claimed, key=attrgetter("claim"))}


def _held(worker: ObjectId, claimed: Iterable[ClaimedJob | End]) -> Document:
    """The guard of what is done under a claim: these jobs, this worker, these very claims."""
    newest = _newest(claimed)
    ids = list(newest)
    return {"_id": {"$in": ids}, "worker": worker, **_same_claim(list(newest.values()))}


def _same_claim(claimed: Sequence[ClaimedJob | End]) -> Document:
    claims = [one.claim for one in claimed]
    if len(set(claims)) == 1:
        return {"claim": claims[0]}  # as nearly always: without a look into each document
    return {"$expr": {"$eq": ["$claim", _looked_up([one.id for one in claimed], claims)]}}


def _looked_up(ids: list[ObjectId], values: list[Any]) -> Document:
    """An expression: the value that stands where the document's id stands in `ids`.

    One literal array for a whole group: measured at 24,000 jobs/s, where a bulk write of
    single updates reaches 6,500.
    """
    return {"$arrayElemAt": [{"$literal": values}, {"$indexOfArray": [{"$literal": ids}, "$_id"]}]}


def _ending(worker: ObjectId, ends: Sequence[End], receipt: ObjectId) -> list[Document]:
    """The change of each document, worked out here, so that MongoDB only looks it up.

    A stage or a field more is felt: this takes MongoDB 60 microseconds a job, and did take 90.
    """
    ids = [end.id for end in ends]
    moment, server = time.monotonic(), int(DatetimeMS(clock.now()))
    fields = [_end_fields(worker, end, receipt, moment, server) for end in ends]
    changes: list[Document | str] = ["$$ROOT", _looked_up(ids, fields)]
    if any(end.claim > 1 for end in ends):  # under its first claim a job has no attempts yet
        attempt = _looked_up(ids, [change["attempts"] for change in fields])
        every = {"$slice": [{"$concatArrays": ["$attempts", attempt]}, -KEPT_ATTEMPTS]}
        changes.append({"attempts": every})
    if any(end.delay_seconds is not None for end in ends):
        # A due time is compared with MongoDB's clock, so MongoDB reads it.
        delays = [round((end.delay_seconds or 0) * 1000) for end in ends]
        later = {"$add": [NOW, _looked_up(ids, delays)]}
        waits = {"$in": [_looked_up(ids, [end.status for end in ends]), list(WAITING)]}
        changes.append({"run_at": {"$cond": [waits, later, None]}})
    counted: list[Document] = [{"$unset": "uncounted"}]
    merged: list[Document] = [{"$replaceWith": {"$mergeObjects": changes}}]
    return merged + (counted if any(end.job.uncounted for end in ends) else [])


def _end_fields(
    worker: ObjectId, end: End, receipt: ObjectId, moment: float, server: int
) -> Document:
    """What an end changes: the fields that are empty under a first claim stay out of it.

    `server` is MongoDB's time in milliseconds at the `moment` of this machine's monotonic clock.
    """
    job, status, ran = end.job, end.status, end.ran_ms
    ended_ms = server - round(1000 * (moment - (end.ended or moment)))
    ended = DatetimeMS(ended_ms)
    started = job.claimed_at if ran is None else DatetimeMS(ended_ms - round(ran))
    attempt = {
        "attempt": job.attempt,
        "claim": job.claim,
        "worker": worker,
        "receipt": receipt,
        "started_at": started,
        "ended_at": ended,
        "outcome": end.outcome,
        "error_type": end.error_type,
        "error": end.error or "",
        "traceback": end.traceback,
    }
    if end.logs:
        attempt["logs"] = list(end.logs)
    fields: Document = {
        "status": status.value,
        "attempt": job.attempt - 1 + end.consumed,
        "started_at": started,
        "attempts": [attempt],
    }
    if status is State.COMPLETED or status is State.DEAD:
        fields["finished_at"] = ended
    if end.keep_seconds is not None:
        fields["expire_at"] = DatetimeMS(ended_ms + round(1000 * end.keep_seconds))
    if end.crashes:
        fields["crashes"] = job.crashes + end.crashes
    if end.result is not None:
        fields["result"] = end.result
    if end.result_error:
        fields["result_error"] = end.result_error
    if end.error or job.claim > 1:
        alike = fingerprint.of(job.type, end.error_type, end.error) if end.error else None
        fields |= {"error": end.error, "fingerprint": alike}
    return fields


@durable
def give_back(worker: ObjectId, jobs: Sequence[ClaimedJob] | None, limit: int) -> list[Hint]:
    """Make pending again what `worker` holds (all of it, or these claims): no attempt is used up.

    The jobs keep their place in line. Returns what was given back, for the head of the lanes.
    """
    return _give_back({"worker": worker} if jobs is None else _held(worker, jobs), limit)


@durable
def give_back_batches(worker: ObjectId, batches: Sequence[ObjectId], limit: int) -> list[Hint]:
    """As `give_back`, for what `worker` holds by these calls of `claim`."""
    return _give_back({"worker": worker, "batch": {"$in": list(batches)}}, limit)


def _give_back(mine: Document, limit: int) -> list[Hint]:
    held = {**_from(State.PENDING, only=[State.RUNNING]), **mine}
    return _move_all(held, {"status": State.PENDING, "started_at": None}, limit=limit)


@durable
def held_by(worker: ObjectId) -> list[ClaimedJob]:
    """Return every job that `worker` holds."""
    held = _numbered().find({"status": State.RUNNING, "worker": worker}, CLAIM_FIELDS)
    return [_claimed(document) for document in held]


@durable
def find_held(worker: ObjectId, id: ObjectId, claim: int) -> ClaimedJob | None:
    """Return the job if `worker` still holds it under that claim; `None` if not."""
    held = {"_id": id, "status": State.RUNNING, "worker": worker, "claim": claim}
    document = _numbered().find_one(held, CLAIM_FIELDS)
    return _claimed(document) if document else None


@durable
def holdings(ids: Sequence[ObjectId]) -> set[Holding]:
    """Return by whom, and under which claim, those of `ids` that are running are held."""
    running = {"_id": {"$in": list(ids)}, "status": State.RUNNING}
    found = collection("jobs").find(running, {"worker": 1, "claim": 1}, hint=BY_ID)
    return {Holding(document["worker"], document["_id"], document["claim"]) for document in found}


# --- What people and the steward do -----------------------------------------------------------


@durable
def requeue(selection: Document) -> list[Hint]:
    """Make dead or cancelled jobs pending again, with all their attempts. Returns which."""
    guard = _from(State.PENDING, only=REQUEUEABLE)
    return _move_all({"$and": [selection, guard]}, requeued())


def requeued() -> Document:
    """Return what a requeue changes in a job."""
    fresh = {"attempt": 0, "crashes": 0, "finished_at": None, "expire_at": None}
    again = {"error": None, "fingerprint": None, **fresh}
    return {"status": State.PENDING, "enqueued_at": NOW, "started_at": None, **again}


@durable
def run_now(id: ObjectId) -> list[Hint]:
    """Make pending at once what waits for a time, at the end of its lane. Returns where it is."""
    guard = {"_id": id, **_from(State.PENDING, only=WAITING)}
    return _move_all(guard, promoted())


def promoted() -> Document:
    """Return what changes in a job whose time has come."""
    return {"status": State.PENDING, "enqueued_at": NOW, "run_at": None}


@durable
def name_copy(id: ObjectId, copy: ObjectId) -> None:
    """Write down at a job that it was edited and requeued as another one."""
    collection("jobs").update_one({"_id": id}, {"$set": {"copied_to": copy}})


@durable
def copy_of(id: ObjectId) -> ObjectId | None:
    """Return the job that one was edited and requeued as; `None`: none."""
    found = collection("jobs").find_one({"_id": id}, {"copied_to": 1})
    return found.get("copied_to") if found else None


@durable
def was_accepted(name: str) -> bool:
    """Return whether a request of that name is stored."""
    return bool(_settled("requests", {"_id": name}, {"_id": 1}))


@durable
def cancel(selection: Document, keep_seconds: float) -> list[Hint]:
    """Stop jobs for good: what waits never runs, what runs is no longer recorded."""
    return _move_all({**selection, **_from(State.CANCELLED)}, cancelled(keep_seconds))


def cancelled(keep_seconds: float) -> Document:
    """Return what a cancel changes in a job."""
    return {
        "status": State.CANCELLED,
        "run_at": None,
        "finished_at": NOW,
        "expire_at": {"$add": [NOW, round(keep_seconds * 1000)]},
    }


def fill_fingerprints() -> None:
    """Give the failed jobs of an older version their fingerprints. Raises `StoreDown`."""
    failed = {"status": {"$in": [State.DEAD, State.RETRYING]}, "fingerprint": None}
    with store_errors():
        found = collection("jobs").find(failed, {"type": 1, "error": 1, "attempts": {"$slice": -1}})
        while part := list(islice(found, 1_000)):
            collection("jobs").bulk_write([_fingerprinted(job) for job in part], ordered=False)


def _fingerprinted(job: Document) -> UpdateOne:
    kind = job["attempts"][-1]["error_type"] if job.get("attempts") else ""
    alike = fingerprint.of(str(job.get("type")), kind, job.get("error") or "")
    # Guarded: it may have moved on meanwhile.
    guard = {"_id": job["_id"], "error": job.get("error")}
    return UpdateOne(guard, {"$set": {"fingerprint": alike}})


@durable
def next_due() -> datetime | None:
    """Return when the next of the jobs that wait for their time is due; `None`: none waits."""
    waiting = {"status": {"$in": list(WAITING)}, "run_at": {"$ne": None}}
    found = collection("jobs").find_one(waiting, {"_id": 0, "run_at": 1}, sort=[("run_at", 1)])
    return found["run_at"] if found else None


@durable
def promote(limit: int) -> list[Hint]:
    """Make pending what waited for a time that has come, the longest due first."""
    due = {"status": {"$in": list(WAITING)}, "run_at": {"$lte": now()}}
    return _move_all(due, promoted(), order="run_at", limit=limit)


def _move_all(
    selection: Document, changes: Document, *, order: str = "_id", limit: int = 0
) -> list[Hint]:
    """Move all that the guarded `selection` finds. Returns where each of them stands."""
    jobs = collection("jobs")
    found: list[Document] = []
    if jobs.find_one(selection, {"_id": 1}) is None:
        return []  # as nearly always: without the cost of a transaction

    def move_found(session: ClientSession) -> Changes:
        chosen = jobs.find(selection, counting.PLACE, session=session).sort(order, ASCENDING)
        found[:] = chosen.limit(limit)
        return move(found, changes, session)

    counting.counted(move_found, after_reads=True)  # else it may miss what has just been found
    return [_hint(document) for document in found]


def move(documents: Sequence[Document], changes: Document, session: ClientSession) -> Changes:
    """Move these jobs, which were read in the same transaction. Returns what to count.

    What somebody else moves meanwhile makes the transaction begin again.
    """
    if documents:
        these = {"_id": {"$in": [document["_id"] for document in documents]}}
        # Without `batch`: whoever claimed them does not find them by it any more.
        moved: list[Document] = [{"$set": {**changes, "batch": None}}, {"$unset": "uncounted"}]
        collection("jobs").update_many(these, moved, session=session)
    return counting.moved(documents, changes["status"])


def remove(documents: Sequence[Document], session: ClientSession) -> tuple[int, Changes]:
    """Delete those of these ended jobs whose ends are all counted. Returns how many, and the count.

    They must have been read in the same transaction.
    """
    changes = Changes()
    counted = counting.not_in_a_receipt(documents, session)
    for document in counted:
        counting.left(changes, document)
    if counted:
        these = {"_id": {"$in": [document["_id"] for document in counted]}}
        collection("jobs").delete_many(these, session=session)
    return len(counted), changes


@durable
def delete(id: ObjectId) -> bool:
    """Delete one job that has ended. `False`: it has not, or its end is about to be counted."""
    ended = {"_id": id, "status": {"$in": list(ENDED)}}
    deleted: list[int] = []

    def remove_it(session: ClientSession) -> Changes:
        found = list(collection("jobs").find(ended, counting.PLACE, session=session))
        number, changes = remove(found, session)
        deleted[:] = [number]
        return changes

    counting.counted(remove_it)
    return deleted == [1]


@durable
def expire(limit: int) -> int:
    """Delete jobs whose time to be kept is over, the longest first. Returns how many."""
    jobs = collection("jobs")
    over = {"expire_at": {"$gt": EPOCH, "$lte": now()}}  # the index holds what is after `EPOCH`
    deleted: list[int] = []
    if jobs.find_one(over, {"_id": 1}) is None:
        return 0

    def delete_over(session: ClientSession) -> Changes:
        chosen = jobs.find(over, counting.PLACE, session=session).sort("expire_at").limit(limit)
        number, changes = remove(list(chosen), session)
        deleted[:] = [number]
        return changes

    counting.counted(delete_over)
    return deleted[0]


@durable
def status(id: ObjectId) -> str | None:
    """Return a job's state; `None` if there is no such job."""
    found = collection("jobs").find_one({"_id": id}, {"status": 1})
    return str(found["status"]) if found else None


@durable
def unended(ids: Sequence[ObjectId]) -> set[ObjectId]:
    """Return those of `ids` that exist and have not ended."""
    going_on = {"_id": {"$in": list(ids)}, "status": {"$nin": list(ENDED)}}
    found = collection("jobs").find(going_on, {"_id": 1}, hint=BY_ID)
    return {document["_id"] for document in found}


@durable
def hints(ids: Sequence[ObjectId]) -> list[Hint]:
    """Return where these jobs stand."""
    found = collection("jobs").find({"_id": {"$in": list(ids)}}, {"queue": 1, "priority": 1})
    return [_hint(document) for document in found]


@durable
def any_pending(queues: Sequence[str]) -> bool:
    """Return whether a job of these queues is pending."""
    pending = {"status": State.PENDING, "queue": {"$in": list(queues)}}
    return collection("jobs").find_one(pending, {"_id": 1}) is not None


@durable
def pending_among(ids: Sequence[ObjectId]) -> list[datetime]:
    """Return when those of `ids` that are pending were enqueued, the oldest first."""
    pending = {"_id": {"$in": list(ids)}, "status": State.PENDING}
    found = collection("jobs").find(pending, {"enqueued_at": 1}, hint=BY_ID)
    return sorted(document["enqueued_at"] for document in found)


@durable
def oldest(lanes: Sequence[Lane]) -> dict[Lane, tuple[ObjectId, datetime]]:
    """Return the longest waiting job of each lane, and when it was enqueued: one question."""
    if not lanes:
        return {}
    first, *others = [_oldest(lane) for lane in lanes]
    also = [{"$unionWith": {"coll": "jobs", "pipeline": other}} for other in others]
    found = collection("jobs").aggregate([*first, *also])
    return {lane_of(job): (job["_id"], job["enqueued_at"]) for job in found}


def _oldest(lane: Lane) -> list[Document]:
    waiting = {"status": State.PENDING, "queue": lane.queue, "priority": lane.priority}
    place = dict.fromkeys(("queue", "priority", "enqueued_at"), 1)
    in_line = {"enqueued_at": ASCENDING}
    return [{"$match": waiting}, {"$sort": in_line}, {"$limit": 1}, {"$project": place}]


@durable
def count_ahead(lane: Lane, enqueued_at: datetime, id: ObjectId, limit: int) -> int:
    """Return how many pending jobs of a lane come before that place in it, `limit` at most."""
    jobs = collection("jobs")
    waiting = {"status": State.PENDING, "queue": lane.queue, "priority": lane.priority}
    before = jobs.count_documents({**waiting, "enqueued_at": {"$lt": enqueued_at}}, limit=limit)
    if before >= limit:
        return before
    beside = {**waiting, "enqueued_at": enqueued_at, "_id": {"$lt": id}}
    return before + jobs.count_documents(beside, limit=limit - before)


@durable
def oldest_pending(lane: Lane, before: datetime, limit: int) -> list[Hint]:
    """Return the pending jobs of a lane that were enqueued before a moment, the oldest first."""
    older = {
        "status": State.PENDING,
        "queue": lane.queue,
        "priority": lane.priority,
        "enqueued_at": {"$lt": before},
    }
    found = collection("jobs").find(older, {"queue": 1, "priority": 1})
    return [_hint(document) for document in found.sort("enqueued_at", ASCENDING).limit(limit)]


def _hint(document: Document) -> Hint:
    return Hint(document["_id"], lane_of(document))


def _from(*targets: State, only: Iterable[State] = tuple(State)) -> Document:
    """The guard of a move: the states from which every target may be entered."""
    allowed = set(only).intersection(*(sources(target) for target in targets))
    return {"status": {"$in": sorted(allowed)}}


# --- Workers and queues -----------------------------------------------------------------------


@durable
def register_worker(document: Document) -> None:
    """Store a worker's boot; it must be here before its first claim."""
    born = {**UNSAID, **document, "started_at": NOW, "heartbeat_at": NOW, "ended_at": None}
    id = born.pop("_id")
    literal = {name: value if value == NOW else {"$literal": value} for name, value in born.items()}
    collection("workers").update_one(
        {"_id": id}, [{"$set": {**literal, "end_reason": None}}], upsert=True
    )


# What a worker's record says only later: see models.Worker.
UNSAID: Document = dict.fromkeys(
    (
        *("supervisor_pid", "types", "quiet", "done", "failed", "rss_bytes", "cpu_percent"),
        *("asked", "asked_at", "asked_by"),
    )
)


@durable
def heartbeat(workers: Sequence[ObjectId], vitals: Sequence[Document] = ()) -> list[ObjectId]:
    """Say that these workers live, and how they do: the fields to set, for each of them.

    One that was given up for lost by mistake lives again. Returns those that have no record.
    """
    changes: list[Document] = [
        {"$set": {"heartbeat_at": NOW, "ended_at": None, "end_reason": None}}
    ]
    if vitals:
        said = _looked_up(list(workers), list(vitals))
        changes.append({"$replaceWith": {"$mergeObjects": ["$$ROOT", said]}})
    these = {"_id": {"$in": list(workers)}}
    if collection("workers").update_many(these, changes).matched_count == len(workers):
        return []  # as nearly always
    known = collection("workers").distinct("_id", these)
    return [worker for worker in workers if worker not in known]


@durable
def ask(worker: ObjectId, what: str, by: str) -> tuple[str, int] | None:
    """Ask something of the `runworkers` of a worker: that is, of all its workers.

    Returns which one that is, as host and process, and how many of its workers have not ended.
    `None`: there is no such worker.
    """
    workers = collection("workers")
    found = workers.find_one({"_id": worker}, {"supervisor": 1, "host": 1, "supervisor_pid": 1})
    if found is None:
        return None
    asked = {"asked": what, "asked_at": NOW, "asked_by": {"$literal": by}}
    siblings = {"supervisor": found["supervisor"], "ended_at": None}
    count = workers.update_many(siblings, [{"$set": asked}]).matched_count
    return f"{found['host']}:{found.get('supervisor_pid')}", count


@durable
def asked(workers: Sequence[ObjectId]) -> Asked | None:
    """Return what was asked last of any of these workers; `None`: nothing."""
    ask = {"_id": {"$in": list(workers)}, "asked_at": {"$ne": None}}
    found = collection("workers").find_one(
        ask, {"asked": 1, "asked_at": 1, "asked_by": 1}, sort=[("asked_at", pymongo.DESCENDING)]
    )
    return Asked(found["asked"], found["asked_at"], found["asked_by"]) if found else None


@durable
def end_worker(worker: ObjectId, reason: str) -> None:
    """Close a worker's record; `reason` is a sentence for the operator."""
    ended = {"ended_at": NOW, "end_reason": {"$literal": reason}}
    collection("workers").update_one({"_id": worker, "ended_at": None}, [{"$set": ended}])


@durable
def worker_groups(lost_seconds: float) -> list[Document]:
    """Return the workers that have not ended, by host, queues, and whether they are live and quiet.

    With their ids and slots as `workers`.
    """
    since = {"$subtract": [NOW, round(lost_seconds * 1000)]}
    live, quiet = {"$gte": ["$heartbeat_at", since]}, {"$eq": ["$quiet", True]}
    group: Document = {
        "_id": {"host": "$host", "queues": "$queues", "live": live, "quiet": quiet},
        "workers": {"$push": {"id": "$_id", "slots": "$concurrency"}},
    }
    pipeline: list[Document] = [{"$match": {"ended_at": None}}, {"$group": group}]
    return list(collection("workers").aggregate(pipeline))


@durable
def lost_holders(lost_seconds: float) -> list[ObjectId]:
    """Return the workers that hold jobs but have not given a sign of life for that long."""
    # The holders are read first: a worker that registers in between is not among them.
    holders = collection("jobs").distinct("worker", {"status": State.RUNNING})
    live = set(live_workers(lost_seconds))
    return [worker for worker in holders if worker not in live]


@durable
def live_workers(within_seconds: float) -> list[ObjectId]:
    """Return the workers with a heartbeat within that time."""
    return [document["_id"] for document in _live(within_seconds)]


@durable
def live_supervisors(within_seconds: float) -> list[ObjectId]:
    """Return the supervisors of those workers, the oldest first."""
    return sorted({document["supervisor"] for document in _live(within_seconds)})


def _live(within_seconds: float) -> list[Document]:
    since = {"$subtract": [NOW, round(within_seconds * 1000)]}
    fresh = {"ended_at": None, "$expr": {"$gte": ["$heartbeat_at", since]}}
    return list(collection("workers").find(fresh, {"supervisor": 1}))


@durable
def silent_workers(lost_seconds: float) -> list[ObjectId]:
    """Return the workers whose record is open, but who have been silent for that long."""
    since = {"$subtract": [NOW, round(lost_seconds * 1000)]}
    silent = {"ended_at": None, "$expr": {"$lt": ["$heartbeat_at", since]}}
    return [document["_id"] for document in collection("workers").find(silent, {"_id": 1})]


@durable
def report_steward(
    supervisor: ObjectId,
    facts: Document,
    ages: Mapping[str, Document],
    sample: Document | None = None,
) -> None:
    """Write down how a steward is; `ages`: of each chore, how many `seconds` ago it ran.

    `sample`: how many jobs there are, if that is to be kept: see `jobs.samples`.
    """
    chores = {
        name: {
            "failing": age["failing"],
            "ran_at": {"$subtract": [NOW, round(age["seconds"] * 1000)]},
        }
        for name, age in ages.items()
    }
    literal = {name: {"$literal": value} for name, value in facts.items()}
    said: Document = {**literal, "at": NOW, "chores": chores}
    if sample:
        said[samples.place(sample)] = {"$literal": sample}
    collection("stewards").update_one({"_id": supervisor}, [{"$set": said}], upsert=True)


@durable
def stewards(within_seconds: float) -> list[Document]:
    """Return what the stewards said that were heard of within that time, the leader first."""
    since = {"$subtract": [NOW, round(within_seconds * 1000)]}
    found = collection("stewards").find({"$expr": {"$gte": ["$at", since]}}, {"samples": 0})
    return list(found.sort([("leading", -1), ("_id", 1)]))


@durable
def keep_examination(found: Document) -> None:
    """Keep what the last audit of all jobs found."""
    kept = {"$set": {**{name: {"$literal": value} for name, value in found.items()}, "at": NOW}}
    collection("examinations").update_one({"_id": "last"}, [kept], upsert=True)


@durable
def last_examination() -> Document | None:
    """Return what the last audit of all jobs found; `None`: there was none yet."""
    return collection("examinations").find_one({"_id": "last"})


@durable
def pause(queue: str, by: str, reason: str | None, until: datetime | None) -> bool:
    """Stop handing out a queue's jobs, or say anew why and until when. `False`: no such queue."""
    said = {"paused_by": by, "paused_reason": reason, "paused_until": until}
    paused: Document = {field: {"$literal": value} for field, value in said.items()}
    paused["paused_at"] = {"$cond": [PAUSED, "$paused_at", NOW]}
    return collection("queues").update_one({"_id": queue}, [{"$set": paused}]).matched_count == 1


@durable
def resume(queue: str) -> bool:
    """Hand out a queue's jobs again. `False`: there is no such queue."""
    resumed = {"$set": dict.fromkeys(PAUSE)}
    return collection("queues").update_one({"_id": queue}, resumed).matched_count == 1


@durable
def queues() -> dict[str, bool]:
    """Return every known queue's name, and whether it is paused."""
    found = collection("queues").find({}, {"paused": PAUSED})
    return {document["_id"]: document["paused"] for document in found}


@durable
def count(what: str, more: int) -> None:
    """Add to a number that only ever grows."""
    collection("counters").update_one({"_id": what}, {"$inc": {"value": more}}, upsert=True)


@durable
def counted(what: str) -> int:
    """Return such a number; 0 before it was first added to."""
    found = collection("counters").find_one({"_id": what})
    return int(found["value"]) if found else 0


def sealable() -> Iterator[tuple[ObjectId, str, Any]]:
    """Yield each job's payload and result as they are stored: id, field and value."""
    for job in collection("jobs").find({}, {"payload": 1, "result": 1}).batch_size(200):
        for field in ("payload", "result"):
            yield job["_id"], field, job.get(field)


@durable
def replace_value(id: ObjectId, field: str, stored: Any, value: Any) -> bool:
    """Store another value where this one still is. `False`: it has changed meanwhile."""
    changed = {"$set": {field: value}}
    as_it_was = {"_id": id, field: {"$eq": stored}}  # else its own names might be operators
    return collection("jobs").update_one(as_it_was, changed).matched_count == 1
