"""The thin layer over MongoDB: every write of a job, raw PyMongo, guarded.

Every state change is one write whose filter says from where it may come (`_from`), and whom the
job must belong to. Nothing matched means that somebody else was first: a normal branch.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from itertools import count as counting
from operator import attrgetter
from typing import Any, ParamSpec, Protocol, TypeVar

import pymongo
from bson import ObjectId
from bson.errors import BSONError
from pymongo import ASCENDING, DESCENDING, ReturnDocument, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    DuplicateKeyError,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from jobs.clients import DURABLE, Document, collection, mongo
from jobs.errors import StoreDown, Unstorable
from jobs.registry import Lane
from jobs.sharing import Behind, Shared
from jobs.states import REQUEUEABLE, WAITING, State, sources
from jobs.tallies import CLAIMABLE, COLUMN, STRIPES, Changes

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound="ClaimedJob | End")

EPOCH = datetime.fromtimestamp(0, UTC)
KEPT_ATTEMPTS = 50  # the newest; a job requeued for ever must not outgrow a document
INSERT_SECONDS = 10.0  # a caller waits no longer, where a transaction alone may go on for 120 s
NOW = "$$NOW"  # MongoDB's clock, the same for every machine
# The longest that one call waits for MongoDB, a repetition included: whoever is cut off notices
# well before WORKER_LOST_SECONDS, and is back within seconds of the store.
CALL_SECONDS = 6.0
REFUSED_ENDS = "refused_ends"  # counted: executions that ended after their claim was over
TOO_LARGE = {10334, 17419, 17420}  # MongoDB's codes for a document over 16 MB


@dataclass(frozen=True, slots=True)
class Hint:
    """What a lane holds: where a pending job stands in line."""

    id: ObjectId
    lane: Lane


@dataclass(slots=True)  # not frozen: that makes it three times as slow to create
class ClaimedJob:
    """A job that one worker holds under one claim."""

    id: ObjectId
    type: str
    lane: Lane
    payload: Document
    attempt: int  # the number of the attempt that this execution is, from 1
    max_attempts: int
    crashes: int
    claim: int
    enqueued_at: datetime
    claimed_at: datetime
    taken: float  # time.monotonic() of the claim's reply
    uncounted: bool = False  # see models.Job


@dataclass(frozen=True, slots=True)
class Holding:
    """That a worker has a job under one claim."""

    worker: ObjectId
    job: ObjectId
    claim: int


@dataclass(slots=True)
class End:
    """How one execution ended, to be recorded under its claim."""

    job: ClaimedJob
    status: State  # where the job goes
    outcome: str  # how the execution ended: see models.Attempt
    consumed: int = 1  # attempts used up: 0 for a crash
    crashes: int = 0
    started: float | None = None  # time.monotonic() of this machine; None: unknown
    ended: float = 0.0
    delay_seconds: float | None = None  # until it is due again
    keep_seconds: float | None = None  # until MongoDB deletes it; None: it stays
    result: Any = None
    result_error: str | None = None
    error_type: str = ""
    error: str | None = None
    traceback: str = ""
    size: int = 0  # bytes that this end adds to its document

    @property
    def id(self) -> ObjectId:
        return self.job.id

    @property
    def claim(self) -> int:
        return self.job.claim

    @property
    def ran_ms(self) -> float | None:
        """Milliseconds from start to end; `None`: unknown."""
        return None if self.started is None else (self.ended - self.started) * 1000

    @property
    def waited_ms(self) -> float | None:
        """Milliseconds from when it could be claimed to its start; `None`: unknown."""
        if self.started is None:
            return None
        in_lane = (self.job.claimed_at - self.job.enqueued_at).total_seconds()
        return (in_lane + self.started - self.job.taken) * 1000


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise `Unstorable` for what MongoDB can never hold, `StoreDown` for all else that fails."""
    try:
        yield
    except (BSONError, DocumentTooLarge) as error:
        raise Unstorable(f"MongoDB cannot hold it: {error}"[:500]) from error
    except PyMongoError as error:
        if getattr(error, "code", None) in TOO_LARGE:
            raise Unstorable(f"MongoDB cannot hold it: {error}"[:500]) from error
        details = getattr(error, "details", None) or {}
        raise StoreDown(f"MongoDB: {details.get('errmsg') or error}"[:500]) from error


def repeated(function: Callable[P, R]) -> Callable[P, R]:
    """Run a read or write that may safely be repeated: once more after a lost reply."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with store_errors():
            try:
                return function(*args, **kwargs)
            except AutoReconnect:
                return function(*args, **kwargs)

    return wrapper


def durable(function: Callable[P, R]) -> Callable[P, R]:
    """As `repeated`, within `CALL_SECONDS` in all. A question that may be slow limits itself."""
    twice = repeated(function)

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with pymongo.timeout(CALL_SECONDS):
            return twice(*args, **kwargs)

    return wrapper


# --- MongoDB's clock --------------------------------------------------------------------------


class _Clock:
    """MongoDB's time, carried on by this machine's monotonic clock between two readings."""

    REREAD_SECONDS = 60.0

    def __init__(self) -> None:
        self.read_at = float("-inf")
        self.server = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        if time.monotonic() - self.read_at > self.REREAD_SECONDS:
            asked = time.monotonic()
            told = mongo().client.admin.command("hello")["localTime"]
            self.server = told.replace(tzinfo=UTC)
            self.read_at = (asked + time.monotonic()) / 2
        return self.server + timedelta(seconds=time.monotonic() - self.read_at)


_clock = _Clock()


@durable
def now() -> datetime:
    """Return MongoDB's time, in UTC, to within a network round trip."""
    return _clock.now()


# --- Counting ---------------------------------------------------------------------------------


def _counted(move: Callable[[ClientSession], Changes]) -> None:
    """Move jobs and say by how many, in one transaction: both are written, or neither."""
    # Threads that start together have numbers that follow each other, so they seldom meet.
    stripes = counting(threading.get_native_id())

    def transaction(session: ClientSession) -> None:
        additions = move(session).additions(_clock.now(), next(stripes) % STRIPES)
        if writes := [UpdateOne(name, {"$inc": more}, upsert=True) for name, more in additions]:
            collection("tallies").bulk_write(writes, ordered=False, session=session)

    with mongo().client.start_session() as session:
        session.with_transaction(
            transaction,
            read_concern=ReadConcern("snapshot"),
            write_concern=DURABLE,
            read_preference=ReadPreference.PRIMARY,
        )


@durable
def abort_abandoned(seconds: float) -> int:
    """Abort our transactions in which nothing happened for that long. Returns how many.

    Whoever began them is dead, and MongoDB would lock what they wrote for a minute. One that was
    only slow is begun again by its owner.
    """
    admin = mongo().client.admin
    abandoned = {
        "type": "idleSession",
        "appName": mongo().client.options.pool_options.appname,
        "transaction.timeInactiveMicros": {"$gte": seconds * 1_000_000},
    }
    found = admin.aggregate([{"$currentOp": {"idleSessions": True}}, {"$match": abandoned}])
    sessions = [{"id": operation["lsid"]["id"]} for operation in found]
    if sessions:
        admin.command("killSessions", sessions)
    return len(sessions)


def _moved(documents: Iterable[Document], target: State) -> Changes:
    """Count jobs that go from where they are to another state."""
    changes = Changes()
    for document in documents:
        _left(changes, document)
        changes.entered(_lane(document), target)
    return changes


def _came(changes: Changes, document: Document) -> None:
    """Count a job that is in no total yet."""
    _accepted(changes, document)
    changes.entered(_lane(document), _name(document, "status"))


def _left(changes: Changes, document: Document) -> None:
    """Count a job out of the state it is in, one that is in no total as accepted."""
    if _is_new(document):
        _accepted(changes, document)
    else:
        changes.left(_lane(document), _name(document, "status"))


def _accepted(changes: Changes, document: Document) -> None:
    at = document.get("created_at")
    changes.accepted(
        _name(document, "queue"),
        _name(document, "type"),
        at if isinstance(at, datetime) else None,
    )


def _is_new(document: Document) -> bool:
    return bool(document.get("uncounted"))


# What must be read of a job to count it.
PLACE = dict.fromkeys(("queue", "priority", "type", "status", "created_at", "uncounted"), 1)


@durable
def count_new(seconds: float, limit: int) -> int:
    """Count jobs that were stored uncounted that long ago, the newest first. Returns how many.

    Most are claimed before, and counted with their ends. Those at the head of a line are about to
    be: a claim and this count would wait for each other.
    """
    jobs = collection("jobs")
    new = {
        "uncounted": True,
        "status": {"$in": [State.PENDING, State.SCHEDULED]},
        "created_at": {"$lte": now() - timedelta(seconds=seconds)},
    }
    found: list[Document] = []
    if jobs.find_one(new, {"_id": 1}) is None:
        return 0

    def add(session: ClientSession) -> Changes:
        newest = jobs.find(new, PLACE, session=session).sort("created_at", DESCENDING)
        found[:] = newest.limit(limit)
        changes = Changes()
        for document in found:
            _came(changes, document)
        if found:
            these = {"_id": {"$in": [document["_id"] for document in found]}}
            jobs.update_many(these, {"$unset": {"uncounted": ""}}, session=session)
        return changes

    _counted(add)
    return len(found)


# A group of ends is one update outside of any transaction: in one, MongoDB 6 reads its catalogue
# again for every document, which takes as long as the update. So a receipt says what is about to be
# written. It goes with the count, in one transaction; one that is left behind is counted later.

OPEN = {"counted_at": None}  # its ends, as far as they are written, are in no total yet


def _open_receipt(worker: ObjectId, ends: Sequence[End]) -> ObjectId:
    receipt = ObjectId()
    # Not durable by itself: the ends that come after it are, and MongoDB keeps the order.
    collection("receipts").with_options(write_concern=WriteConcern(w=1)).insert_one(
        {
            "_id": receipt,
            "worker": worker,
            "jobs": [end.id for end in ends],
            "claims": [end.claim for end in ends],
            "statuses": [end.status.value for end in ends],
            "new": [end.id for end in ends if end.job.uncounted],
            "opened_at": _clock.now(),
            "counted_at": None,
        }
    )
    return receipt


def _close_receipt(receipt: ObjectId, ends: Sequence[End], session: ClientSession) -> Changes:
    changes = Changes()
    receipts = collection("receipts")
    deleted = receipts.delete_one({"_id": receipt, **OPEN}, session=session).deleted_count
    if not deleted and receipts.find_one({"_id": receipt}, session=session):
        return changes  # a steward took it for left behind, and counted these ends
    # Where it is gone, nobody counted them: a failover may lose what only one node has seen.
    for end in ends:
        job, lane = end.job, end.job.lane
        if job.uncounted:
            changes.accepted(lane.queue, job.type, job.id.generation_time)
        else:
            changes.left(lane, State.RUNNING)
        changes.entered(lane, end.status)
        changes.ended(lane.queue, job.type, end.outcome, waited=end.waited_ms, ran=end.ran_ms)
    return changes


@durable
def count_left_behind(seconds: float, limit: int) -> int:
    """Count the ends of receipts older than that, if no end can join them. Returns how many."""
    old = {"opened_at": {"$lt": now() - timedelta(seconds=seconds)}, **OPEN}
    return sum(map(_count_receipt, collection("receipts").find(old).limit(limit)))


def _count_receipt(receipt: Document) -> int:
    written: list[Document] = []

    def mark(session: ClientSession) -> Changes:
        written.clear()
        mine = {"_id": receipt["_id"], **OPEN}
        counted = {"$currentDate": {"counted_at": True}}
        # That no end can join is read with the ends: a failover may take back what was read before.
        if (
            not _may_grow(receipt, session)
            and collection("receipts").update_one(mine, counted, session=session).modified_count
        ):
            written[:] = _written_with(receipt["_id"], receipt["jobs"], session)
        return _changes_of(receipt, written)

    _counted(mark)
    return len(written)


def _may_grow(receipt: Document, session: ClientSession) -> bool:
    """Return whether one of its jobs is still held under its claim, so that its end may come."""
    claims = dict(zip(receipt["jobs"], receipt["claims"], strict=True))
    running = {"status": State.RUNNING, "worker": receipt["worker"]}
    held = collection("jobs").find(
        {"_id": {"$in": receipt["jobs"]}, **running}, {"claim": 1}, session=session
    )
    return any(document["claim"] == claims[document["_id"]] for document in held)


def _changes_of(receipt: Document, written: Iterable[Document]) -> Changes:
    """Return what these jobs' ends change, which were written with that receipt."""
    statuses = dict(zip(receipt["jobs"], receipt["statuses"], strict=True))
    new = set(receipt["new"])
    changes = Changes()
    for document in written:
        lane, id = _lane(document), document["_id"]
        end = next(one for one in document["attempts"] if one.get("receipt") == receipt["_id"])
        if id in new:
            _accepted(changes, document)
        else:
            changes.left(lane, State.RUNNING)
        changes.entered(lane, statuses[id])
        changes.ended(
            lane.queue,
            _name(document, "type"),
            end["outcome"],
            at=end["ended_at"],
            ran=(end["ended_at"] - end["started_at"]).total_seconds() * 1000,
        )
    return changes


def _written_with(
    receipt: ObjectId, ids: Sequence[ObjectId], session: ClientSession | None = None
) -> list[Document]:
    """Return those of `ids` that have an end which was written with that receipt."""
    these = {"_id": {"$in": list(ids)}, "attempts.receipt": receipt}
    fields = ("receipt", "outcome", "started_at", "ended_at")
    ends = dict.fromkeys((f"attempts.{field}" for field in fields), 1)
    return list(collection("jobs").find(these, {**PLACE, **ends}, session=session))


def _not_in_a_receipt(documents: Sequence[Document], session: ClientSession) -> list[Document]:
    """Return those whose ends are all counted."""
    these = {"jobs": {"$in": [document["_id"] for document in documents]}, **OPEN}
    receipts = collection("receipts").find(these, {"jobs": 1}, session=session)
    uncounted = {id for receipt in receipts for id in receipt["jobs"]}
    return [document for document in documents if document["_id"] not in uncounted]


@dataclass(frozen=True, slots=True)
class Totals:
    """How many jobs there are in each state, and how many of them wait in each lane."""

    by_status: dict[str, int]
    pending: dict[Lane, int]


@durable
def totals() -> Totals:
    """Return the totals at one instant, without counting but what is running or in no tally yet."""
    with mongo().client.start_session(snapshot=True) as session:
        columns = _tallied(session)
        columns.update(_in_columns(_grouped({"uncounted": True}, "uncounted", session)))
        columns.update(_in_receipts(session))
        running = _grouped({"status": State.RUNNING}, "held", session)
    by_status = Counter({state.value: 0 for state in State})
    pending = Counter[Lane]()
    for (lane, column), jobs in columns.items():
        if column == CLAIMABLE:
            pending[lane] += jobs
        else:
            by_status[column] += jobs
    for (lane, _), jobs in running.items():
        pending[lane] -= jobs
        by_status[State.RUNNING] += jobs
    by_status[State.PENDING] = pending.total()
    return Totals(dict(by_status), {lane: jobs for lane, jobs in pending.items() if jobs})


@durable
def minutes(since: datetime, *, queue: str, type: str) -> list[tuple[datetime, Counter[str]]]:
    """Return the counts of each minute from then on, of all jobs or those of a queue or a type.

    A minute may come several times; its counts add up. A name has dots: `completed.ran.12`.
    """
    chosen: Document = {"minute": {"$gte": since}, "type": type, "queue": queue}
    if type and not queue:
        del chosen["queue"]  # there is no minute of one type in all queues
    return [
        (document["minute"], Counter(_flat(document)))
        for document in collection("tallies").find(chosen)
    ]


def _flat(counts: Document, prefix: str = "") -> dict[str, int]:
    flat: dict[str, int] = {}
    for name, value in counts.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif prefix or name == "accepted":
            flat[prefix + name] = value
    return flat


Columns = Counter[tuple[Lane, str]]


def _tallied(session: ClientSession) -> Columns:
    columns = Columns()
    these = {"_id": {"$gte": "total/", "$lt": "total0"}}  # "0" comes after "/"
    for document in collection("tallies").find(these, session=session):
        for column in set(COLUMN.values()):
            columns[_lane(document), column] += document.get(column, 0)
    return columns


def _in_receipts(session: ClientSession) -> Columns:
    """Return what the ends change that are written, but not counted yet."""
    columns = Columns()
    for receipt in collection("receipts").find(OPEN, session=session):
        written = _written_with(receipt["_id"], receipt["jobs"], session)
        columns.update(_changes_of(receipt, written).columns())
    return columns


def _grouped(selection: Document, index: str, session: ClientSession) -> Counter[tuple[Lane, str]]:
    place = {"queue": "$queue", "priority": "$priority", "status": "$status"}
    grouped = collection("jobs").aggregate(
        [{"$match": selection}, {"$group": {"_id": place, "jobs": {"$sum": 1}}}],
        hint=index,
        session=session,
    )
    by_state = Counter[tuple[Lane, str]]()
    for row in grouped:
        by_state[_lane(row["_id"]), _name(row["_id"], "status")] += row["jobs"]
    return by_state


def _in_columns(by_state: Counter[tuple[Lane, str]]) -> Columns:
    columns = Columns()
    for (lane, status), jobs in by_state.items():
        if status in COLUMN:
            columns[lane, COLUMN[status]] += jobs
    return columns


def miscounted() -> Columns:
    """Return by how much the totals are off, which is nothing unless somebody else wrote jobs.

    Counts every job, so it takes a few seconds a million; exact however much goes on meanwhile.
    """
    return _measured()[0]


def correct() -> Columns:
    """Count every job and put the totals right. Returns by how much they were off."""
    off, corrections = _measured()
    if off:
        _correct(off, corrections)
    return off


@repeated
def _measured() -> tuple[Columns, int]:
    """Return by how much the totals are off, and how often they were put right until then."""
    with mongo().client.start_session(snapshot=True) as session:
        off = _in_columns(_grouped({"uncounted": {"$ne": True}}, "_id_", session))
        off.subtract(_tallied(session))
        off.subtract(_in_receipts(session))
        corrections = _corrections(session)
    return Columns({place: jobs for place, jobs in off.items() if jobs}), corrections


@durable
def _correct(off: Columns, corrections: int) -> None:
    """Put the totals right by that much, unless somebody did so since it was measured."""

    def add(session: ClientSession) -> Changes:
        changes = Changes()
        if _corrections(session) == corrections:
            one = {"$inc": {"value": 1}}
            name = {"_id": CORRECTIONS}
            collection("counters").update_one(name, one, upsert=True, session=session)
            changes.correct(off)
        return changes

    _counted(add)


CORRECTIONS = "corrections"  # counted: how often the totals were put right


def _corrections(session: ClientSession) -> int:
    found = collection("counters").find_one({"_id": CORRECTIONS}, session=session)
    return int(found["value"]) if found else 0


# --- Accepting --------------------------------------------------------------------------------


class New(Protocol):
    """Jobs to be stored; see `requests.NewJobs`."""

    documents: list[Document]

    def __len__(self) -> int: ...
    def pieces(self) -> Iterator[list[Document]]: ...


def insert(new: New, request: Document | None = None) -> Document | None:
    """Store new jobs, all or none, durably: a majority has them in its journal on return.

    With the `request` that asked for them, that is stored too: the same `_id` is accepted once.
    Returns the earlier request of that `_id` if there is one, and then nothing was stored.
    """
    try:
        with pymongo.timeout(INSERT_SECONDS):
            return _accept(new, request)
    except StoreDown as error:
        # Without its cause: an `ExecutionTimeout` there would say that a question was too slow.
        raise StoreDown(str(error)) from None


@repeated
def _accept(new: New, request: Document | None) -> Document | None:
    try:
        _store(new, request)
    except (DuplicateKeyError, BulkWriteError):
        # Taken by an earlier request, or by our own first try, whose reply was lost.
        if request and (earlier := _settled("requests", _another(request))):
            return earlier[0]
        ours = {"_id": {"$in": [document["_id"] for document in new.documents]}}
        if len(_settled("jobs", ours, {"_id": 1})) != len(new):
            raise
    return None


def _another(request: Document) -> Document:
    return {"_id": request["_id"], "ids": {"$ne": request["ids"]}}


def _settled(name: str, selection: Document, fields: Document | None = None) -> list[Document]:
    """Return what a majority has of a selection, waiting for what is still on its way there.

    "majority" alone does not wait, so it may miss the very write that was in the way.
    """
    majority = collection(name).with_options(
        read_concern=ReadConcern("majority"), read_preference=ReadPreference.PRIMARY
    )
    with mongo().client.start_session(causal_consistency=True) as session:
        mongo().command("ping", session=session)  # its reply says what there is to wait for
        return list(majority.find(selection, fields, session=session))


def _insert_singles(documents: list[Document]) -> None:
    if len(documents) == 1:
        collection("jobs").insert_one(documents[0])
    else:
        collection("jobs").insert_many(documents, ordered=False)


def _kind(document: Document) -> tuple[Lane, str, str]:
    return _lane(document), document["status"], document["type"]


_singles = Shared(_insert_singles, most=100)  # of 1 MB at most, and a message may have 48


def _store(new: New, request: Document | None) -> None:
    if len(new) == 1 and request is None:
        # A transaction would cost two more round trips; `count_new` counts it in a moment.
        for document in next(new.pieces()):
            _singles.add({**document, "uncounted": True})
        return

    def store(session: ClientSession) -> Changes:
        if request:
            collection("requests").insert_one(request, session=session)
        changes = Changes()
        with Behind() as behind:
            for piece in new.pieces():
                behind.call(partial(collection("jobs").insert_many, piece, session=session))
                for (lane, status, type), jobs in Counter(map(_kind, piece)).items():
                    changes.accepted(lane.queue, type, at=None, jobs=jobs)
                    changes.entered(lane, status, jobs)
        return changes

    _counted(store)


@durable
def know_queue(name: str) -> None:
    """Have a document for the queue, so that it is listed and can be paused."""
    collection("queues").update_one({"_id": name}, [{"$set": QUEUE_DEFAULTS}], upsert=True)


QUEUE_DEFAULTS = {field: {"$ifNull": [f"${field}", None]} for field in ("paused_at", "paused_by")}


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
    jobs = collection("jobs")
    if len(ids) == 1 and (document := _claim_one(jobs, ids[0], worker, batch)):
        return [_claimed(document)]
    if len(ids) > 1:
        _claim_once(jobs, ids, worker, batch)
    held = jobs.find({"_id": {"$in": list(ids)}, "batch": batch}, CLAIM_FIELDS)
    by_id = {document["_id"]: _claimed(document) for document in held}
    # A lane may hold an id twice: the job is still taken once.
    return [by_id[id] for id in dict.fromkeys(ids) if id in by_id]


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
        jobs.update_many(guard, change)
    except AutoReconnect:
        # The reply was lost: the batch token finds what the first try took, the guard keeps a
        # second try from taking it twice.
        jobs.update_many(guard, change)


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
        _lane(document),
        document["payload"],
        document["attempt"] + 1,
        document["max_attempts"],
        document["crashes"],
        document["claim"],
        document["enqueued_at"],
        document["started_at"] or document["enqueued_at"],
        time.monotonic(),
        "uncounted" in document,
    )


@durable
def record(worker: ObjectId, ends: Sequence[End]) -> list[End]:
    """Write how executions ended, in one grouped update. Return those that were refused.

    An end is refused when the job is no longer held by `worker` under that claim. Writing the same
    end twice is harmless, so a lost reply is answered by writing again.
    """
    newest = list(_newest(ends).values())
    receipt = _open_receipt(worker, newest)
    guard = _from(*{end.status for end in newest}, only=[State.RUNNING])
    held = {**guard, **_held(worker, newest)}
    written = collection("jobs").update_many(held, _ending(worker, newest, receipt))
    recorded = newest if written.matched_count == len(newest) else _recorded(newest, receipt)
    _counted(partial(_close_receipt, receipt, recorded))
    return [] if len(recorded) == len(ends) else _unrecorded(ends)


def _recorded(ends: Sequence[End], receipt: ObjectId) -> list[End]:
    """Return which of these ends were written with that receipt."""
    ids = {document["_id"] for document in _written_with(receipt, [end.id for end in ends])}
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
    moment, server = time.monotonic(), _clock.now()
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
    worker: ObjectId, end: End, receipt: ObjectId, moment: float, server: datetime
) -> Document:
    """What an end changes: the fields that are empty under a first claim stay out of it."""
    job, status, ran = end.job, end.status, end.ran_ms
    ended = server - timedelta(seconds=moment - (end.ended or moment))
    started = job.claimed_at if ran is None else ended - timedelta(milliseconds=ran)
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
    fields: Document = {
        "status": status.value,
        "attempt": job.attempt - 1 + end.consumed,
        "started_at": started,
        "attempts": [attempt],
    }
    if status is State.COMPLETED or status is State.DEAD:
        fields["finished_at"] = ended
    if end.keep_seconds is not None:
        fields["expire_at"] = ended + timedelta(seconds=end.keep_seconds)
    if end.crashes:
        fields["crashes"] = job.crashes + end.crashes
    if end.result is not None:
        fields["result"] = end.result
    if end.result_error:
        fields["result_error"] = end.result_error
    if end.error or job.claim > 1:
        fields["error"] = end.error
    return fields


@durable
def give_back(worker: ObjectId, jobs: Iterable[ClaimedJob] | None = None) -> list[Hint]:
    """Make pending again what `worker` holds (all of it, or these claims): no attempt is used up.

    The jobs keep their place in line. Returns what was given back, for the head of the lanes.
    """
    return _give_back({"worker": worker} if jobs is None else _held(worker, jobs))


@durable
def give_back_batches(worker: ObjectId, batches: Sequence[ObjectId]) -> list[Hint]:
    """As `give_back`, for what `worker` holds by these calls of `claim`."""
    return _give_back({"worker": worker, "batch": {"$in": list(batches)}})


def _give_back(mine: Document) -> list[Hint]:
    held = {**_from(State.PENDING, only=[State.RUNNING]), **mine}
    return _move_all(held, {"status": State.PENDING, "started_at": None})


@durable
def held_by(worker: ObjectId) -> list[ClaimedJob]:
    """Return every job that `worker` holds."""
    held = collection("jobs").find({"status": State.RUNNING, "worker": worker}, CLAIM_FIELDS)
    return [_claimed(document) for document in held]


@durable
def find_held(worker: ObjectId, id: ObjectId, claim: int) -> ClaimedJob | None:
    """Return the job if `worker` still holds it under that claim; `None` if not."""
    held = {"_id": id, "status": State.RUNNING, "worker": worker, "claim": claim}
    document = collection("jobs").find_one(held, CLAIM_FIELDS)
    return _claimed(document) if document else None


@durable
def holdings(ids: Sequence[ObjectId]) -> set[Holding]:
    """Return by whom, and under which claim, those of `ids` that are running are held."""
    running = {"_id": {"$in": list(ids)}, "status": State.RUNNING}
    found = collection("jobs").find(running, {"worker": 1, "claim": 1})
    return {Holding(document["worker"], document["_id"], document["claim"]) for document in found}


# --- What people and the steward do -----------------------------------------------------------


@durable
def requeue(selection: Document, *, limit: int = 0) -> list[Hint]:
    """Make dead or cancelled jobs pending again, with all their attempts. Returns which."""
    fresh = {"attempt": 0, "crashes": 0, "finished_at": None, "expire_at": None, "error": None}
    changes = {"status": State.PENDING, "enqueued_at": NOW, "started_at": None, **fresh}
    guard = _from(State.PENDING, only=REQUEUEABLE)
    if "status" in selection:
        guard = {"$and": [guard]}
    return _move_all({**selection, **guard}, changes, limit=limit)


@durable
def cancel(selection: Document, keep_seconds: float) -> list[Hint]:
    """Stop jobs for good: what waits never runs, what runs is no longer recorded."""
    changes = {
        "status": State.CANCELLED,
        "run_at": None,
        "finished_at": NOW,
        "expire_at": {"$add": [NOW, round(keep_seconds * 1000)]},
    }
    return _move_all({**selection, **_from(State.CANCELLED)}, changes)


@durable
def promote(limit: int) -> list[Hint]:
    """Make pending what waited for a time that has come, the longest due first."""
    due = {"status": {"$in": list(WAITING)}, "run_at": {"$lte": now()}}
    changes = {"status": State.PENDING, "enqueued_at": NOW, "run_at": None}
    return _move_all(due, changes, order="run_at", limit=limit)


def _move_all(
    selection: Document, changes: Document, *, order: str = "_id", limit: int = 0
) -> list[Hint]:
    """Move all that the guarded `selection` finds. Returns where each of them stands."""
    jobs = collection("jobs")
    found: list[Document] = []
    if jobs.find_one(selection, {"_id": 1}) is None:
        return []  # as nearly always: without the cost of a transaction

    def move(session: ClientSession) -> Changes:
        chosen = jobs.find(selection, PLACE, session=session).sort(order, ASCENDING)
        found[:] = chosen.limit(limit)
        if found:
            these = {"_id": {"$in": [document["_id"] for document in found]}}
            # Without `batch`: whoever claimed them does not find them by it any more.
            moved: list[Document] = [{"$set": {**changes, "batch": None}}, {"$unset": "uncounted"}]
            jobs.update_many({**selection, **these}, moved, session=session)
        return _moved(found, changes["status"])

    _counted(move)
    return [_hint(document) for document in found]


@durable
def expire(limit: int) -> int:
    """Delete jobs whose time to be kept is over, the longest first. Returns how many."""
    jobs = collection("jobs")
    over = {"expire_at": {"$gt": EPOCH, "$lte": now()}}  # the index holds what is after `EPOCH`
    found: list[Document] = []
    if jobs.find_one(over, {"_id": 1}) is None:
        return 0

    def delete(session: ClientSession) -> Changes:
        chosen = jobs.find(over, PLACE, session=session).sort("expire_at").limit(limit)
        found[:] = _not_in_a_receipt(list(chosen), session)
        changes = Changes()
        for document in found:
            _left(changes, document)
        if found:
            these = {"_id": {"$in": [document["_id"] for document in found]}}
            jobs.delete_many(these, session=session)
        return changes

    _counted(delete)
    return len(found)


@durable
def status(id: ObjectId) -> str | None:
    """Return a job's state; `None` if there is no such job."""
    found = collection("jobs").find_one({"_id": id}, {"status": 1})
    return str(found["status"]) if found else None


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
    found = collection("jobs").find(
        {"_id": {"$in": list(ids)}, "status": State.PENDING}, {"enqueued_at": 1}
    )
    return sorted(document["enqueued_at"] for document in found)


@durable
def oldest(lane: Lane) -> datetime | None:
    """Return when the longest waiting job of a lane was enqueued; `None`: nothing waits there."""
    waiting = {"status": State.PENDING, "queue": lane.queue, "priority": lane.priority}
    found = collection("jobs").find(waiting, {"enqueued_at": 1}).sort("enqueued_at", ASCENDING)
    return next((document["enqueued_at"] for document in found.limit(1)), None)


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
    return Hint(document["_id"], _lane(document))


def _lane(document: Document) -> Lane:
    return Lane(_name(document, "queue"), _name(document, "priority"))


def _name(document: Document, field: str) -> str:
    # Something else may have written it: one such job must not stop all others.
    return str(document.get(field, "?"))


def _from(*targets: State, only: Iterable[State] = tuple(State)) -> Document:
    """The guard of a move: the states from which every target may be entered."""
    allowed = set(only).intersection(*(sources(target) for target in targets))
    return {"status": {"$in": sorted(allowed)}}


# --- Workers and queues -----------------------------------------------------------------------


@durable
def register_worker(document: Document) -> None:
    """Store a worker's boot; it must be here before its first claim."""
    born = {**document, "started_at": NOW, "heartbeat_at": NOW, "ended_at": None}
    id = born.pop("_id")
    literal = {name: value if value == NOW else {"$literal": value} for name, value in born.items()}
    collection("workers").update_one(
        {"_id": id}, [{"$set": {**literal, "end_reason": None}}], upsert=True
    )


@durable
def heartbeat(workers: Sequence[ObjectId]) -> None:
    """Say that these workers live. One that was given up for lost by mistake lives again."""
    alive = {"heartbeat_at": NOW, "ended_at": None, "end_reason": None}
    collection("workers").update_many({"_id": {"$in": list(workers)}}, [{"$set": alive}])


@durable
def end_worker(worker: ObjectId, reason: str) -> None:
    """Close a worker's record; `reason` is a sentence for the operator."""
    ended = {"ended_at": NOW, "end_reason": {"$literal": reason}}
    collection("workers").update_one({"_id": worker, "ended_at": None}, [{"$set": ended}])


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
def pause(queue: str, by: str) -> bool:
    """Stop handing out a queue's jobs. `False`: there is no such queue."""
    paused = {"paused_at": {"$ifNull": ["$paused_at", NOW]}, "paused_by": {"$literal": by}}
    return collection("queues").update_one({"_id": queue}, [{"$set": paused}]).matched_count == 1


@durable
def resume(queue: str) -> bool:
    """Hand out a queue's jobs again. `False`: there is no such queue."""
    resumed = {"$set": {"paused_at": None, "paused_by": None}}
    return collection("queues").update_one({"_id": queue}, resumed).matched_count == 1


@durable
def queues() -> dict[str, bool]:
    """Return every known queue's name, and whether it is paused."""
    found = collection("queues").find({}, {"paused_at": 1})
    return {document["_id"]: document.get("paused_at") is not None for document in found}


@durable
def count(what: str, more: int) -> None:
    """Add to a number that only ever grows."""
    collection("counters").update_one({"_id": what}, {"$inc": {"value": more}}, upsert=True)


@durable
def counted(what: str) -> int:
    """Return such a number; 0 before it was first added to."""
    found = collection("counters").find_one({"_id": what})
    return int(found["value"]) if found else 0


@durable
def server_time() -> datetime:
    """Return MongoDB's time, read now from the node that takes the writes."""
    told: datetime = mongo().client.admin.command("hello")["localTime"]
    return told.replace(tzinfo=UTC)


@durable
def audit(actor: str, action: str, target: str, detail: str) -> None:
    """Keep what somebody did."""
    entry = {"at": now(), "actor": actor, "action": action, "target": target, "detail": detail}
    collection("audit").insert_one(entry)


# --- What the conservation check reads: bounded pieces, each of which may be repeated ----------


@durable
def jobs_after(id: ObjectId | None, fields: Sequence[str], limit: int) -> list[Document]:
    """Return these fields of the next jobs after `id`, by id; `None`: of the first."""
    later = {} if id is None else {"_id": {"$gt": id}}
    found = collection("jobs").find(later, dict.fromkeys(fields, 1))
    return list(found.sort("_id", ASCENDING).limit(limit))


@durable
def jobs_among(ids: Sequence[ObjectId], fields: Sequence[str]) -> list[Document]:
    """Return these fields of those of `ids` that exist."""
    return list(collection("jobs").find({"_id": {"$in": list(ids)}}, dict.fromkeys(fields, 1)))


@durable
def pending_before(id: ObjectId | None, limit: int) -> list[Document]:
    """Return id, lane and `enqueued_at` of the next pending jobs before `id`, newest first."""
    pending: Document = {"status": State.PENDING}
    if id is not None:
        pending["_id"] = {"$lt": id}
    fields = {"queue": 1, "priority": 1, "enqueued_at": 1}
    return list(collection("jobs").find(pending, fields).sort("_id", DESCENDING).limit(limit))


@durable
def pending_ids(ids: Sequence[ObjectId]) -> list[ObjectId]:
    """Return those of `ids` that are pending."""
    pending = {"_id": {"$in": list(ids)}, "status": State.PENDING}
    return [document["_id"] for document in collection("jobs").find(pending, {"_id": 1})]


@durable
def held_ids(workers: Sequence[ObjectId]) -> list[ObjectId]:
    """Return the ids of all jobs that these workers hold."""
    held = {"status": State.RUNNING, "worker": {"$in": list(workers)}}
    return [document["_id"] for document in collection("jobs").find(held, {"_id": 1})]


@repeated
def overdue(seconds: float, limit: int) -> tuple[int, list[ObjectId]]:
    """Return how many jobs wait though they have been due for that long, and the longest due."""
    due = {
        "status": {"$in": list(WAITING)},
        "run_at": {"$lt": now() - timedelta(seconds=seconds)},
    }
    jobs = collection("jobs")
    oldest = jobs.find(due, {"_id": 1}).sort("run_at", ASCENDING).limit(limit)
    return jobs.count_documents(due), [document["_id"] for document in oldest]
