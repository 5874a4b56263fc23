"""What the conservation check reads: bounded pieces, each of which may be repeated."""

from collections.abc import Sequence
from datetime import timedelta

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING

from jobs.clients import Document, collection
from jobs.mongodb import BY_ID, durable, now, repeated
from jobs.states import WAITING, State


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
    found = collection("jobs").find(pending, {"_id": 1}, hint=BY_ID)
    return [document["_id"] for document in found]


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
