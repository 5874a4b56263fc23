"""Bulk operations as MongoDB holds them: what a preview froze, and how far the work has come.

A preview writes down which jobs it saw, and of each a stamp that every move of a job changes. What
arrives later is not written down; what left and came back has another stamp. A batch is moved,
counted and marked as done in one transaction, so whoever goes on after a crash goes on exactly
there. How and why: docs/decisions/0017-bulk-operations.md.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import islice
from typing import Any

import bson
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING, ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError, ExecutionTimeout

from jobs import counting, mongodb, repository
from jobs.claims import Hint
from jobs.clients import DURABLE, Document, collection, mongo
from jobs.errors import TooSlow
from jobs.mongodb import clock, durable, repeated, store_errors
from jobs.tallies import Changes

BATCH = 200  # jobs moved at once: some tens of milliseconds, in which nobody else can move them
READ_AT_ONCE = 1_000  # jobs that a preview holds unpacked: a megabyte
SAMPLE = 10  # jobs that a preview shows
PREVIEW_KEPT = timedelta(hours=1)
KEPT = timedelta(days=30)  # from its start on
PREVIEWED, RUNNING, STOPPED = "previewed", "running", "stopped"
COMPLETED, FAILED = "completed", "failed"

_STAMPED = ("status", "claim", "enqueued_at", "finished_at")
_READ = {**counting.PLACE, **dict.fromkeys(_STAMPED, 1)}


def stamp(document: Mapping[str, Any]) -> int:
    """Return a number that every move of a job changes, to be kept beside its id."""
    facts = repr([document.get(name) for name in _STAMPED])
    return int.from_bytes(blake2b(facts.encode(), digest_size=8).digest(), signed=True)


# --- what a preview freezes -------------------------------------------------------------------


@dataclass
class Matching:
    """The jobs of a selection at one instant: packed as they are frozen, for there may be many."""

    id: ObjectId  # of the operation that may come of them
    frozen_at: datetime
    total: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_type: Counter[str] = field(default_factory=Counter)
    newest: list[ObjectId] = field(default_factory=list)  # a few
    batches: list[RawBSONDocument] = field(default_factory=list)

    def add(self, jobs: Sequence[Document]) -> None:
        """Take in the next batch, newer than those before."""
        frozen = _frozen(self.id, len(self.batches), jobs, self.frozen_at)
        self.batches.append(RawBSONDocument(bson.encode(frozen)))
        self.total += len(jobs)
        self.by_status.update(str(job["status"]) for job in jobs)
        self.by_type.update(str(job.get("type")) for job in jobs)
        self.newest = [*self.newest, *(job["_id"] for job in jobs)][-SAMPLE:]


@repeated
def read_matching(selection: Document, most: int) -> Matching:
    """Read the jobs of a selection at one instant, at most that many. Raises `TooSlow`."""
    matching, milliseconds = Matching(ObjectId(), clock.now()), round(1000 * mongodb.QUERY_SECONDS)
    with mongo().client.start_session(snapshot=True) as session:
        fields = dict.fromkeys((*_STAMPED, "type"), 1)
        found = collection("jobs").find(selection, fields, session=session, batch_size=READ_AT_ONCE)
        jobs = found.sort("_id", ASCENDING).limit(most).max_time_ms(milliseconds)
        try:
            while batch := list(islice(jobs, BATCH)):
                matching.add(batch)
        except ExecutionTimeout as error:
            raise TooSlow(f"MongoDB: {error}"[:500]) from error
    return matching


def freeze(action: str, chosen: Mapping[str, Any], actor: str, jobs: Matching) -> Document:
    """Write down these jobs as those that an operation may touch, and return the operation."""
    with store_errors():
        if jobs.batches:
            collection("frozen_batches").insert_many(jobs.batches, ordered=False)
        operation = _previewed(action, chosen, actor, jobs)
        collection("operations").insert_one(operation)
        return operation


def _frozen(operation: ObjectId, number: int, jobs: Sequence[Document], now: datetime) -> Document:
    return {
        "_id": f"{operation}.{number}",
        "ids": [job["_id"] for job in jobs],
        "stamps": [stamp(job) for job in jobs],
        "expire_at": now + PREVIEW_KEPT,
    }


def _previewed(action: str, chosen: Mapping[str, Any], actor: str, jobs: Matching) -> Document:
    return {
        "_id": jobs.id,
        "action": action,
        "filter": dict(chosen),
        "actor": actor,
        "state": PREVIEWED,
        "total": jobs.total,
        "batches": len(jobs.batches),
        "position": 0,
        "done": 0,
        "skipped": 0,
        "error": None,
        "frozen_at": jobs.frozen_at,
        "started_at": None,
        "resumed_at": None,
        "resumed_from": 0,
        "updated_at": jobs.frozen_at,
        "finished_at": None,
        "expire_at": jobs.frozen_at + PREVIEW_KEPT,
    }


# --- starting, stopping, going on -------------------------------------------------------------


@durable
def start(id: ObjectId, request: Document | None = None) -> tuple[Document | None, Document | None]:
    """Start a previewed operation, together with the `request` that asked for it.

    Returns the operation if it was started now, and the earlier request of the same name if there
    was one: then nothing was started.
    """
    now = clock.now()
    keep = {"$set": {"expire_at": now + KEPT}}
    collection("frozen_batches").update_many(_batches_of(id), keep)
    fresh = {"state": RUNNING, "started_at": now, "resumed_at": now, "updated_at": now}

    def begin(session: ClientSession) -> Document | None:
        if request:
            collection("requests").insert_one(request, session=session)
        return _change(id, [PREVIEWED], {**fresh, "expire_at": now + KEPT}, session)

    try:
        with mongo().client.start_session() as session:
            return session.with_transaction(begin, write_concern=DURABLE), None
    except DuplicateKeyError:
        return None, collection("requests").find_one({"_id": request and request["_id"]})


def _batches_of(id: ObjectId) -> Document:
    return {"_id": {"$gte": f"{id}.", "$lt": f"{id}/"}}  # "/" comes after "."


def _change(
    id: ObjectId, states: Sequence[str], fields: Document, session: ClientSession | None = None
) -> Document | None:
    """Change an operation that is in one of these states; return it, or `None`: it is not."""
    guard = {"_id": id, "state": {"$in": list(states)}}
    after = ReturnDocument.AFTER
    found: Document | None = collection("operations").find_one_and_update(
        guard, {"$set": fields}, return_document=after, session=session
    )
    return found


@durable
def stop(id: ObjectId) -> Document | None:
    """Stop one that runs, after the batch in hand. `None`: it does not run."""
    return _change(id, [RUNNING], {"state": STOPPED, "updated_at": clock.now()})


@durable
def resume(id: ObjectId) -> Document | None:
    """Let one go on that was stopped or failed. `None`: it is neither."""
    now = clock.now()
    guard = {"_id": id, "state": {"$in": [STOPPED, FAILED]}}
    again = {"state": RUNNING, "error": None, "resumed_at": now, "updated_at": now}
    gone_by = {"resumed_from": {"$add": ["$done", "$skipped"]}}
    found: Document | None = collection("operations").find_one_and_update(
        guard, [{"$set": {**again, **gone_by}}], return_document=ReturnDocument.AFTER
    )
    return found


@durable
def fail(id: ObjectId, error: str) -> Document | None:
    """Stop one that cannot go on. `None`: it does not run."""
    return _change(id, [RUNNING], {"state": FAILED, "error": error, "updated_at": clock.now()})


@durable
def complete(id: ObjectId) -> Document | None:
    """End one whose batches are all done, and forget them. `None`: somebody else was first."""
    now = clock.now()
    ended = _change(id, [RUNNING], {"state": COMPLETED, "finished_at": now, "updated_at": now})
    if ended:
        collection("frozen_batches").delete_many(_batches_of(id))
    return ended


# --- the work ---------------------------------------------------------------------------------

Move = Callable[[Sequence[Document], ClientSession], tuple[int, Changes]]


def moves(keep_seconds: float) -> dict[str, Move]:
    """Return what each action does to jobs in a transaction: how many it moved, and the counts."""

    def requeue(jobs: Sequence[Document], session: ClientSession) -> tuple[int, Changes]:
        return len(jobs), repository.move(jobs, repository.requeued(), session)

    def cancel(jobs: Sequence[Document], session: ClientSession) -> tuple[int, Changes]:
        return len(jobs), repository.move(jobs, repository.cancelled(keep_seconds), session)

    return {"requeue": requeue, "cancel": cancel, "delete": repository.remove}


@dataclass(frozen=True)
class Step:
    """What became of an operation's next batch. `operation`: as it is then; `None`: none runs."""

    operation: Document | None
    looked_at: int = 0  # jobs of the batch, those that had moved on by themselves included
    moved: Sequence[Hint] = ()


@durable
def advance(id: ObjectId, moves: Mapping[str, Move]) -> Step:
    """Do the next batch of a running operation."""
    step = Step(None)

    def batch(session: ClientSession) -> Changes:
        nonlocal step
        operations = collection("operations")
        running = operations.find_one({"_id": id, "state": RUNNING}, session=session)
        step = Step(running)
        if running is None or running["position"] >= running["batches"]:
            return Changes()
        looked_at, unmoved = _unmoved(running, session)
        done, changes = moves[running["action"]](unmoved, session)
        more = {"position": 1, "done": done, "skipped": looked_at - done}
        progress = {"$inc": more, "$set": {"updated_at": clock.now()}}
        operations.update_one({"_id": id}, progress, session=session)
        running.update({name: running[name] + number for name, number in more.items()})
        moved = [Hint(job["_id"], counting.lane_of(job)) for job in unmoved]
        step = Step(running, looked_at, moved)
        return changes

    counting.counted(batch)
    return step


def _unmoved(operation: Document, session: ClientSession) -> tuple[int, list[Document]]:
    """Return how many jobs the next batch has, and those of them that are as they were frozen."""
    name = f"{operation['_id']}.{operation['position']}"
    batch = collection("frozen_batches").find_one({"_id": name}, session=session)
    if batch is None:
        raise LookupError("Its frozen set has been deleted: preview again.")
    stamps = dict(zip(batch["ids"], batch["stamps"], strict=True))
    found = collection("jobs").find({"_id": {"$in": batch["ids"]}}, _READ, session=session)
    return len(stamps), [job for job in found if stamp(job) == stamps[job["_id"]]]


# --- the questions ----------------------------------------------------------------------------


@durable
def find(id: ObjectId) -> Document | None:
    """Return an operation, also one that is only previewed."""
    return collection("operations").find_one({"_id": id})


@durable
def running() -> list[ObjectId]:
    """Return the operations that run, the oldest first."""
    found = collection("operations").find({"state": RUNNING}, {"_id": 1})
    return [document["_id"] for document in found.sort("_id", ASCENDING)]
