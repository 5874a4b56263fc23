"""Totals and minutes: written in one transaction with the moves, read at one instant.

`jobs.tallies` says what a move changes. Here is who moves jobs in one step with their count
(`counted`), what is counted later and how nothing of it is lost (receipts, new jobs), and the
questions. How and why: docs/decisions/0012-counts-are-written-with-the-moves.md.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import count

import pymongo
from bson import ObjectId
from pymongo import DESCENDING, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from jobs.claims import End
from jobs.clients import AWARE, DURABLE, Document, collection, mongo
from jobs.mongodb import BY_ID, CALL_SECONDS, catch_up, clock, durable, now, repeated, store_errors
from jobs.registry import Lane
from jobs.states import State
from jobs.tallies import ALL, CLAIMABLE, COLUMN, OUTCOMES, STRIPES, Changes, minute_of

CORRECTIONS = "corrections"  # counted: how often the totals were put right


def counted(move: Callable[[ClientSession], Changes], *, after_reads: bool = False) -> None:
    """Move jobs and say by how many, in one transaction: both are written, or neither.

    With `after_reads`, it finds all that anyone has read before: see `mongodb.catch_up`.
    """
    # Threads that start together have numbers that follow each other, so they seldom meet.
    stripes = count(threading.get_native_id())

    def transaction(session: ClientSession) -> None:
        additions = move(session).additions(clock.now(), next(stripes) % STRIPES)
        if writes := [UpdateOne(name, {"$inc": more}, upsert=True) for name, more in additions]:
            collection("tallies").bulk_write(writes, ordered=False, session=session)

    with mongo().client.start_session() as session:
        if after_reads:
            catch_up(session)
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


def moved(documents: Iterable[Document], target: State) -> Changes:
    """Count jobs that go from where they are to another state."""
    changes = Changes()
    for document in documents:
        left(changes, document)
        changes.entered(lane_of(document), target)
    return changes


def _came(changes: Changes, document: Document) -> None:
    """Count a job that is in no total yet."""
    _accepted(changes, document)
    changes.entered(lane_of(document), _name(document, "status"))


def left(changes: Changes, document: Document) -> None:
    """Count a job out of the state it is in, one that is in no total as accepted."""
    if is_new(document):
        _accepted(changes, document)
    else:
        changes.left(lane_of(document), _name(document, "status"))


def _accepted(changes: Changes, document: Document) -> None:
    at = document.get("created_at")
    changes.accepted(
        _name(document, "queue"),
        _name(document, "type"),
        at if isinstance(at, datetime) else None,
    )


def lane_of(document: Document) -> Lane:
    return Lane(_name(document, "queue"), _name(document, "priority"))


def _name(document: Document, field: str) -> str:
    # Something else may have written it: one such job must not stop all others.
    return str(document.get(field, "?"))


def is_new(document: Document) -> bool:
    return bool(document.get("uncounted"))


# What must be read of a job to count it.
PLACE = dict.fromkeys(("queue", "priority", "type", "status", "created_at", "uncounted"), 1)


# --- new jobs ---------------------------------------------------------------------------------


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

    counted(add)
    return len(found)


# --- receipts ---------------------------------------------------------------------------------

# A group of ends is one update outside of any transaction: in one, MongoDB 6 reads its catalogue
# again for every document, which takes as long as the update. So a receipt says what is about to be
# written. It goes with the count, in one transaction: of several groups, where they come quickly.
# One that is left behind is counted later.

OPEN = {"counted_at": None}  # its ends, as far as they are written, are in no total yet


def open_receipt(worker: ObjectId, ends: Sequence[End]) -> ObjectId:
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
            "opened_at": clock.now(),
            "counted_at": None,
        }
    )
    return receipt


@dataclass(frozen=True, slots=True)
class Written:
    """A group of ends that is written: its receipt, and what it changes in the counts."""

    receipt: ObjectId
    changes: Changes
    ends: int


def changed_by(receipt: ObjectId, ends: Sequence[End]) -> Written:
    """Return what these ends change, which were written with that receipt."""
    changes = Changes()
    for end in ends:
        job, lane = end.job, end.job.lane
        if job.uncounted:
            at = job.enqueued_at.as_datetime(AWARE)  # never moved since
            changes.accepted(lane.queue, job.type, at)
        else:
            changes.left(lane, State.RUNNING)
        changes.entered(lane, end.status)
        changes.ended(
            lane.queue,
            job.type,
            end.outcome,
            waited=end.waited_ms,
            ran=end.ran_ms,
            error_type=end.error_type,
        )
    return Written(receipt, changes, len(ends))


def count_ends(written: Sequence[Written]) -> None:
    """Count these groups and delete their receipts. After `StoreDown` a steward counts them.

    It must not be tried again then: a receipt that is gone may mean that it was counted.
    """
    with store_errors(), pymongo.timeout(CALL_SECONDS):
        counted(partial(close_receipts, written))


def close_receipts(written: Sequence[Written], session: ClientSession) -> Changes:
    receipts = collection("receipts")
    these = {"_id": {"$in": [one.receipt for one in written]}}
    deleted = receipts.delete_many({**these, **OPEN}, session=session).deleted_count
    left = receipts.find(these, session=session) if deleted < len(written) else ()
    by_a_steward = {receipt["_id"] for receipt in left}  # who took them for left behind
    # One that is gone was counted by nobody: a failover may lose what only one node has seen.
    changes = Changes()
    for one in written:
        if one.receipt not in by_a_steward:
            changes.add(one.changes)
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
            written[:] = written_with(receipt["_id"], receipt["jobs"], session)
        return _changes_of(receipt, written)

    counted(mark)
    return len(written)


def _may_grow(receipt: Document, session: ClientSession) -> bool:
    """Return whether one of its jobs is still held under its claim, so that its end may come."""
    claims = dict(zip(receipt["jobs"], receipt["claims"], strict=True))
    running = {"status": State.RUNNING, "worker": receipt["worker"]}
    held = collection("jobs").find(
        {"_id": {"$in": receipt["jobs"]}, **running}, {"claim": 1}, hint=BY_ID, session=session
    )
    return any(document["claim"] == claims[document["_id"]] for document in held)


def _changes_of(receipt: Document, written: Iterable[Document]) -> Changes:
    """Return what these jobs' ends change, which were written with that receipt."""
    statuses = dict(zip(receipt["jobs"], receipt["statuses"], strict=True))
    new = set(receipt["new"])
    changes = Changes()
    for document in written:
        lane, id = lane_of(document), document["_id"]
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
            error_type=end.get("error_type") or "",
        )
    return changes


def written_with(
    receipt: ObjectId, ids: Sequence[ObjectId], session: ClientSession | None = None
) -> list[Document]:
    """Return those of `ids` that have an end which was written with that receipt."""
    fields = ("receipt", "outcome", "started_at", "ended_at", "error_type")
    ends = dict.fromkeys((f"attempts.{field}" for field in fields), 1)
    return list(_ended_with([receipt], ids, {**PLACE, **ends}, session))


def _ended_with(
    receipts: Iterable[ObjectId],
    ids: Iterable[ObjectId],
    fields: Document,
    session: ClientSession | None,
) -> Iterable[Document]:
    """Return those of `ids` that have an end which was written with one of these receipts."""
    these = {"_id": {"$in": list(ids)}, "attempts.receipt": {"$in": list(receipts)}}
    return collection("jobs").find(these, fields, session=session)


def not_in_a_receipt(documents: Sequence[Document], session: ClientSession) -> list[Document]:
    """Return those whose ends are all counted."""
    these = {"jobs": {"$in": [document["_id"] for document in documents]}, **OPEN}
    receipts = collection("receipts").find(these, {"jobs": 1}, session=session)
    uncounted = {id for receipt in receipts for id in receipt["jobs"]}
    return [document for document in documents if document["_id"] not in uncounted]


# --- the questions ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Totals:
    """How many jobs there are in each state, in all and of each queue; how many wait in a lane.

    `held`: how many run at each worker, by its id; with prefetch more than execute.
    """

    by_status: dict[str, int]
    by_queue: dict[str, dict[str, int]]
    pending: dict[Lane, int]
    held: Counter[str]


@durable
def totals() -> Totals:
    """Return the totals at one instant, without counting but what is running or in no tally yet."""
    with mongo().client.start_session(snapshot=True) as session:
        columns = _tallied(session)
        columns.update(_in_columns(_grouped({"uncounted": True}, "uncounted", session)))
        columns.update(_in_receipts(session))
        # Once for all who ask: MongoDB passes by the entries of what has just run, minutes long.
        running = _grouped({"status": State.RUNNING}, "held", session, by="worker")
    by_queue: dict[str, Counter[str]] = defaultdict(_of_no_job)
    pending = Counter[Lane]()
    for (lane, column), jobs in columns.items():
        if column == CLAIMABLE:
            pending[lane] += jobs
        else:
            by_queue[lane.queue][column] += jobs
    held = Counter[str]()
    for (lane, worker), jobs in running.items():
        pending[lane] -= jobs
        by_queue[lane.queue][State.RUNNING] += jobs
        held[worker] += jobs
    for lane, jobs in pending.items():
        by_queue[lane.queue][State.PENDING] += jobs
    by_status = _of_no_job()
    for counts in by_queue.values():
        by_status.update(counts)
    return Totals(
        dict(by_status),
        {queue: dict(counts) for queue, counts in by_queue.items()},
        {lane: jobs for lane, jobs in pending.items() if jobs},
        held,
    )


def _of_no_job() -> Counter[str]:
    return Counter({state.value: 0 for state in State})


@durable
def minutes(since: datetime, *, queue: str, type: str) -> list[tuple[datetime, Counter[str]]]:
    """Return the counts of each minute from then on, of all jobs or those of a queue or a type.

    A minute may come several times; its counts add up. A name has dots: `completed.ran.12`.
    """
    chosen: Document = {"minute": {"$gte": since}, "type": type, "queue": queue}
    if type and not queue:
        del chosen["queue"]  # there is no minute of one type in all queues
    new = {name: value for name, value in (("queue", queue), ("type", type)) if value}
    minute = {"$dateTrunc": {"date": "$created_at", "unit": "minute"}}
    pipeline = [
        {"$match": chosen},
        _with_new({"created_at": {"$gte": since}, **new}, "minute", minute),
    ]
    with mongo().client.start_session(snapshot=True) as session:
        found = collection("tallies").aggregate(pipeline, session=session)
        return [(document["minute"], Counter(_flat(document))) for document in found]


@durable
def rates(queues: Sequence[str], minutes: int) -> dict[str, tuple[float, float]]:
    """Return how many jobs a minute were accepted and ended, by queue, over the last whole minutes.

    Queues of which nothing happened are left out.
    """
    current = minute_of(clock.now())
    these = {"$in": list(queues)}
    lately = {"$gte": current - timedelta(minutes=minutes), "$lt": current}
    ended = [{"$ifNull": [f"${outcome}.jobs", 0]} for outcome in OUTCOMES]
    pipeline = [
        {"$match": {"type": ALL, "queue": these, "minute": lately}},
        _with_new({"created_at": lately, "queue": these}, "queue", "$queue"),
        {
            "$group": {
                "_id": "$queue",
                "accepted": {"$sum": "$accepted"},
                "ended": {"$sum": {"$add": ended}},
            }
        },
    ]
    with mongo().client.start_session(snapshot=True) as session:
        return {
            row["_id"]: (row["accepted"] / minutes, row["ended"] / minutes)
            for row in collection("tallies").aggregate(pipeline, session=session)
        }


def _with_new(chosen: Document, name: str, by: str | Document) -> Document:
    """Return the stage that adds how many jobs came which are in no minute yet.

    They run since they came, perhaps for hours. Missing are those whose end is being counted.
    """
    new: list[Document] = [
        {"$match": {"uncounted": True, **chosen}},
        {"$group": {"_id": by, "accepted": {"$sum": 1}}},
        {"$set": {name: "$_id"}},
    ]
    return {"$unionWith": {"coll": "jobs", "pipeline": new}}


def _flat(counts: Document, prefix: str = "") -> dict[str, int]:
    flat: dict[str, int] = {}
    for name, value in counts.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif prefix or name == "accepted":
            flat[prefix + name] = value
    return flat


Columns = Counter[tuple[Lane, str]]
Receipted = tuple[ObjectId, ObjectId]  # an end: of which job, written with which receipt


def _tallied(session: ClientSession) -> Columns:
    columns = Columns()
    these = {"_id": {"$gte": "total/", "$lt": "total0"}}  # "0" comes after "/"
    for document in collection("tallies").find(these, session=session):
        for column in set(COLUMN.values()):
            columns[lane_of(document), column] += document.get(column, 0)
    return columns


def _in_receipts(session: ClientSession) -> Columns:
    """Return what the ends change that are written, but not counted yet."""
    # Some thousands, looked for every second: what only the minutes need of them is not read.
    statuses, new = dict[Receipted, str](), set[Receipted]()
    fields = {"jobs": 1, "statuses": 1, "new": 1}
    receipts = list(collection("receipts").find(OPEN, fields, session=session))
    for receipt in receipts:
        ends = [(id, receipt["_id"]) for id in receipt["jobs"]]
        statuses.update(zip(ends, receipt["statuses"], strict=True))
        new.update((id, receipt["_id"]) for id in receipt["new"])
    changes, names = Changes(), [receipt["_id"] for receipt in receipts]
    ids, place = {id for id, _ in statuses}, {"queue": 1, "priority": 1, "attempts.receipt": 1}
    for document in _ended_with(names, ids, place, session) if names else ():
        lane = lane_of(document)
        for attempt in document["attempts"]:
            end = (document["_id"], attempt.get("receipt"))
            if end in statuses:
                changes.entered(lane, statuses[end])
                if end not in new:
                    changes.left(lane, State.RUNNING)
    return changes.columns()


def _grouped(
    selection: Document, index: str, session: ClientSession, *, by: str = "status"
) -> Counter[tuple[Lane, str]]:
    place = {"queue": "$queue", "priority": "$priority", by: f"${by}"}
    grouped = collection("jobs").aggregate(
        [{"$match": selection}, {"$group": {"_id": place, "jobs": {"$sum": 1}}}],
        hint=index,
        session=session,
    )
    counted = Counter[tuple[Lane, str]]()
    for row in grouped:
        counted[lane_of(row["_id"]), _name(row["_id"], by)] += row["jobs"]
    return counted


def _in_columns(by_state: Counter[tuple[Lane, str]]) -> Columns:
    columns = Columns()
    for (lane, status), jobs in by_state.items():
        if status in COLUMN:
            columns[lane, COLUMN[status]] += jobs
    return columns


# --- whether all that is true -----------------------------------------------------------------


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

    counted(add)


def _corrections(session: ClientSession) -> int:
    found = collection("counters").find_one({"_id": CORRECTIONS}, session=session)
    return int(found["value"]) if found else 0
