"""Dead letters by what they died of, read from the newest ones."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from jobs import mongodb
from jobs.clients import Document, collection
from jobs.errors import NotFound
from jobs.models import GroupNote
from jobs.states import State

GROUPED = 5_000  # dead letters that are looked at
GROUPS = 100  # the largest
HOURS = 24
MILLISECONDS = 3_600_000  # of an hour


@dataclass(frozen=True)
class DeadGroup:
    """Dead letters that are alike; see `jobs.fingerprint`."""

    fingerprint: str
    type: str
    error_type: str
    count: int
    queues: dict[str, int]
    first_at: datetime | None  # when the first and the last of them died
    newest_at: datetime | None
    newest_error: str
    hours: list[int]  # how many died in each of the last 24 hours, the oldest first
    note: GroupNote | None


@dataclass(frozen=True)
class DeadGroups:
    """The largest groups. `complete`: all dead letters are counted, not only the newest ones."""

    groups: list[DeadGroup]
    complete: bool


def dead_groups(
    queues: Collection[str] | None = None, *, type: str = "", queue: str = "", alike: str = ""
) -> DeadGroups:
    """Return the newest dead letters by fingerprint, of these queues, or with `None` of all.

    `alike`: only of this fingerprint. Raises `StoreDown`.
    """
    chosen: Document = {name: value for name, value in (("type", type), ("queue", queue)) if value}
    scope = [{"queue": {"$in": list(queues)}}] if queues is not None else []
    dead: Document = {"status": State.DEAD.value, **({"fingerprint": alike} if alike else {})}
    index = "letters" if alike else "by_status"
    sought = {"$and": [chosen, *scope, {"fingerprint": {"$ne": None}}]}
    pipeline: list[Document] = [
        {"$match": dead},
        {"$sort": {"_id": -1}},
        {"$limit": GROUPED},
        {"$match": sought},
        {"$group": _by_hour(mongodb.now())},
    ]
    with mongodb.within(mongodb.QUERY_SECONDS):
        jobs = collection("jobs")
        rows = list(jobs.aggregate(pipeline, hint=index))
        more = jobs.find(dead, {"_id": 1}, hint=index).sort("_id", -1).skip(GROUPED).limit(1)
        complete = not list(more)
    return DeadGroups(_groups(rows), complete)


def _by_hour(now: datetime) -> Document:
    ago = {"$toInt": {"$divide": [{"$subtract": [now, "$finished_at"]}, MILLISECONDS]}}
    return {
        "_id": {"alike": "$fingerprint", "queue": "$queue", "hour": {"$min": [HOURS, ago]}},
        "count": {"$sum": 1},
        "first": {"$min": "$finished_at"},
        "last": {"$max": "$finished_at"},
        "newest": {"$max": "$_id"},
    }


def _groups(rows: Iterable[Document]) -> list[DeadGroup]:
    parts: dict[str, list[Document]] = {}
    for row in rows:
        parts.setdefault(row["_id"]["alike"], []).append(row)
    sizes = Counter({alike: sum(part["count"] for part in own) for alike, own in parts.items()})
    largest = [alike for alike, _ in sorted(sizes.items(), key=lambda one: (-one[1], one[0]))]
    newest = {alike: max(part["newest"] for part in parts[alike]) for alike in largest[:GROUPS]}
    jobs = _newest(newest.values())
    notes = {note.fingerprint: note for note in GroupNote.objects.filter(pk__in=list(newest))}
    return [
        _group(alike, parts[alike], jobs.get(id, {}), notes.get(alike))
        for alike, id in newest.items()
    ]


def _newest(ids: Iterable[ObjectId]) -> dict[ObjectId, Document]:
    fields = {"type": 1, "error": 1, "attempts.error_type": 1}
    with mongodb.within(mongodb.QUERY_SECONDS):
        found = collection("jobs").find({"_id": {"$in": list(ids)}}, fields)
        return {job["_id"]: job for job in found}


def _group(alike: str, parts: list[Document], job: Document, note: GroupNote | None) -> DeadGroup:
    queues, hours = Counter[str](), [0] * HOURS
    for part in parts:
        queues[part["_id"]["queue"]] += part["count"]
        ago = part["_id"]["hour"]
        if ago is not None and 0 <= ago < HOURS:
            hours[-1 - ago] += part["count"]
    attempts: list[Any] = job.get("attempts") or [{}]
    return DeadGroup(
        alike,
        job.get("type", ""),
        attempts[-1].get("error_type", ""),
        sum(queues.values()),
        dict(queues.most_common()),
        min((part["first"] for part in parts if part["first"]), default=None),
        max((part["last"] for part in parts if part["last"]), default=None),
        job.get("error") or "",
        hours,
        note,
    )


def dead_group(alike: str) -> DeadGroups:
    """Return the one group of a fingerprint. Raises `NotFound`: there is none (any more)."""
    found = dead_groups(alike=alike)
    if not found.groups:
        raise NotFound(
            f"No dead letter has the fingerprint {alike}: they were requeued or discarded."
        )
    return found
