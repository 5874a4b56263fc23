"""Jobs as lists show them: plain values, by which a rendered row is remembered."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId

from jobs import mongodb, secrets, selectors
from jobs.clients import Document, collection
from jobs.models import Job
from jobs.selectors import JobFilter, Page
from jobs.states import State

SIMILAR, SIMILAR_READ = 20, 1_000
MOST_BYTES = 4_096  # of a payload in a list
ARGS = 2  # of its values
SHOWN = 60  # characters of one of them
Args = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """What a row may show. What was not asked for is as if there were none."""

    id: str
    type: str
    status: str
    queue: str
    priority: str
    attempt: int
    max_attempts: int
    crashes: int
    worker: ObjectId | None  # who holds it, or held it last
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    run_at: datetime | None
    error: str
    args: Args | None  # None: the payload is large
    # Of the last attempt that ended:
    seconds: float | None
    error_type: str
    traceback: str


def _last_attempt(*fields: str) -> Document:
    """Return how to ask for these fields of the last attempt."""
    shown = {name: f"$$attempt.{name}" for name in ("started_at", "ended_at", *fields)}
    return {"$map": {"input": selectors.LAST_ATTEMPT, "as": "attempt", "in": shown}}


_PLAIN = (
    *("type", "status", "queue", "priority", "attempt", "max_attempts", "crashes", "worker"),
    *("created_at", "started_at", "finished_at", "run_at"),
)
SUMMARY: Document = dict.fromkeys((*_PLAIN, "error"), 1)
SHORT: Document = {**SUMMARY, "attempts": _last_attempt("error_type")}
LETTER: Document = {**SUMMARY, "attempts": _last_attempt("error_type", "traceback")}
_SMALL = {"$lte": [{"$bsonSize": "$payload"}, MOST_BYTES]}
LONG: Document = {**SHORT, "payload": {"$cond": [_SMALL, "$payload", None]}}


def rows(
    chosen: JobFilter,
    *,
    cursor: str = "",
    size: int = selectors.PAGE_SIZE,
    reveal: bool = False,
    fields: Document = LONG,
) -> Page[Row]:
    """Return one page of the jobs that match, the newest first, payloads masked.

    `fields`: how much of each is asked for. See `selectors.page`, and what it raises.
    """

    def read(ids: list[ObjectId]) -> list[Row]:
        with mongodb.within(mongodb.QUERY_SECONDS):
            found = collection("jobs").find({"_id": {"$in": ids}}, fields, limit=len(ids))
            return [_row(job) for job in found.sort("_id", selectors.NEWEST_FIRST)]

    return selectors.page(chosen, read, cursor=cursor, size=size, reveal=reveal)


def similar(job: Job) -> list[Row]:
    """Return the last jobs, beside this one, of its type that failed last with its kind of error.

    They are among the `SIMILAR_READ` failed last submitted; at most `SIMILAR` of them.
    """
    if not job.attempts or not job.attempts[-1].error_type:
        return []
    error = {"$eq": [{"$last": "$attempts.error_type"}, {"$literal": job.attempts[-1].error_type}]}
    found: list[Row] = []
    for status in (State.DEAD, State.RETRYING):
        pipeline: list[Document] = [
            {"$match": {"status": status, "_id": {"$ne": job.id}}},
            {"$sort": {"_id": selectors.NEWEST_FIRST}},
            {"$limit": SIMILAR_READ},
            {"$match": {"type": job.type, "$expr": error}},
            {"$limit": SIMILAR},
            {"$project": SHORT},
        ]
        with mongodb.within(mongodb.QUERY_SECONDS):
            found += map(_row, collection("jobs").aggregate(pipeline))
    return sorted(found, key=lambda each: each.id, reverse=True)[:SIMILAR]


def _row(job: Mapping[str, Any]) -> Row:
    last: Mapping[str, Any] = next(iter(job.get("attempts") or ()), {})
    began, ended = last.get("started_at"), last.get("ended_at")
    plain: dict[str, Any] = {name: job.get(name) for name in _PLAIN}
    return Row(
        id=str(job["_id"]),
        **plain,
        error=job.get("error") or "",
        args=_key_args(job["type"], job["payload"]) if "payload" in job else (),
        seconds=(ended - began).total_seconds() if began and ended else None,
        error_type=last.get("error_type", ""),
        traceback=last.get("traceback", ""),
    )


def _key_args(job_type: str, stored: Any) -> Args | None:
    """Return the first values of a payload that a list can show, masked, cut short."""
    if stored is None:
        return None
    payload, _ = secrets.shown(job_type, stored, None)
    fields: Iterable[tuple[str, Any]] = payload.items() if isinstance(payload, dict) else ()
    plain = [(name, value) for name, value in fields if not isinstance(value, dict | list)]
    return tuple((name, _short(value)) for name, value in plain[:ARGS])


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
