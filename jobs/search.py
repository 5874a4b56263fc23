"""The query language as MongoDB selects it, and a search that reads a bounded number of jobs.

Only typed fields are selected and every text is literal. What no index answers is looked for among
the newest `EXAMINED` jobs that an index gives, and the next page goes on behind them: whatever is
stored and asked, a page costs MongoDB some tens of milliseconds, and says how far back it looked.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId
from django.conf import settings

from jobs import mongodb, registry, secrets
from jobs.clients import Document, collection
from jobs.errors import InvalidRequest
from jobs.mongodb import repeated
from jobs.query import ARGS, BadQuery, Term, number, parse, period, printed, seconds
from jobs.registry import NAME
from jobs.states import State

EXAMINED = 5_000  # jobs that one page of a search looks into
COUNTED = 500  # jobs of each state that the counts of a search look into
SLACK = timedelta(hours=1)  # by which a maker's clock may be wrong
MOST_WORKERS = 1_000
OLDEST_SECONDS = 50 * 365 * 86_400
# Where a last error may be: a job that completed has none.
MAY_HAVE_FAILED = [state.value for state in State if state is not State.COMPLETED]
BOOLEANS = {"true": True, "false": False}
COMPARED = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}


# --- what a query selects ---------------------------------------------------------------------


def conditions(text: str, *, reveal: bool = False) -> list[Document]:
    """Return what a query selects, as conditions that must all hold. Raises `InvalidRequest`.

    Without `reveal`, secret payload fields cannot be searched.
    """
    every: list[Document] = []
    for term in parse(text):
        found = list(_conditions(term if term.name else meaning(term), reveal=reveal))
        every += [{"$nor": [{"$and": found}]}] if term.negated else found
    return every


def masked(text: str) -> str:
    """Return a query as everybody may see it: without what it looks for in secret fields."""
    return printed(
        replace(term, value=secrets.MASK, operator="")
        if term.name.startswith(ARGS) and not secrets.types_that_show(_path(term))
        else term
        for term in parse(text)
    )


def by_host(terms: Iterable[Term]) -> bool:
    """Return whether workers are named by host: those that are forgotten by now are not meant."""
    return any(term.name == "worker" and not ObjectId.is_valid(term.value) for term in terms)


def _path(term: Term) -> str:
    return term.name.removeprefix(ARGS)


def meaning(word: Term) -> Term:
    """Return what a bare word stands for: an id, a job type, a tag, or else text of an error."""
    value = word.value
    name = "error"
    if ObjectId.is_valid(value):
        name = "id"
    elif NAME.fullmatch(value):
        if registry.get(value) or _exists({"type": value}, "by_type"):
            name = "type"
        elif _exists({"tags": value}, "by_tag"):
            name = "tag"
    return Term(name, value, negated=word.negated, start=word.start, end=word.end)


@repeated
def _exists(selection: Document, index: str) -> bool:
    return collection("jobs").find_one(selection, {"_id": 1}, hint=index) is not None


def _conditions(term: Term, *, reveal: bool) -> Iterator[Document]:
    value = term.value
    match term.name:
        case "state":
            yield {"status": value}
        case "tag":
            yield {"tags": value}
        case "id":
            yield {"_id": ObjectId(value)}
        case "worker":
            yield {"worker": {"$in": _workers(term)}}
        case "error":
            yield {"status": {"$in": MAY_HAVE_FAILED}}
            text = {"$regex": re.escape(value), "$options": "i"}
            yield {"$or": [{"error": text}, _kind_of_last_error(text)]}
        case "attempts":
            yield {"attempt": _compared(term)}
        case "age":
            # Nothing is older than that, and no date could be.
            age = timedelta(seconds=min(seconds(value) or 0, OLDEST_SECONDS))
            moment = mongodb.now() - age
            older = term.operator in (">", ">=")
            yield from between("created_at", None if older else moment, moment if older else None)
        case "created":
            yield from between("created_at", *(period(value) or (None, None)))
        case "type" | "queue" | "priority" | "fingerprint":
            yield {term.name: value}
        case _:
            yield from _of_payload(term, reveal=reveal)


def _kind_of_last_error(text: Document) -> Document:
    last = {"$last": "$attempts.error_type"}
    has_it = {"$regexMatch": {"input": last, "regex": text["$regex"], "options": text["$options"]}}
    # Neither do all attempts lack it, nor does the last one: so asked, MongoDB works the last one
    # out of those jobs alone of which some attempt has it, and takes half the time.
    return {"$nor": [{"attempts.error_type": {"$not": text}}, {"$expr": {"$not": [has_it]}}]}


def _compared(term: Term) -> Any:
    value = number(term.value)
    return {COMPARED[term.operator]: value} if term.operator else value


def _workers(term: Term) -> list[ObjectId]:
    """Return the workers that an id, a host or host:pid names, if they are known."""
    named = term.value
    if ObjectId.is_valid(named):
        return [ObjectId(named)]
    host, _, pid = named.rpartition(":")
    chosen: Document = {"host": host, "pid": int(pid)} if host and _is_pid(pid) else {"host": named}
    with mongodb.within(mongodb.QUERY_SECONDS):
        found = list(collection("workers").find(chosen, {"_id": 1}).limit(MOST_WORKERS + 1))
    if not found:
        raise _refused(
            term, f"no worker {named} is known. One is forgotten a day after its end: use its id"
        )
    if len(found) > MOST_WORKERS:
        raise _refused(
            term, f"more than {MOST_WORKERS:,} workers are {named}: use host:pid or the id of one"
        )
    return [worker["_id"] for worker in found]


def _is_pid(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,9}", text) is not None


def _of_payload(term: Term, *, reveal: bool) -> Iterator[Document]:
    path = _path(term)
    if settings.PAYLOAD_KEYS:
        raise _refused(term, "payloads are encrypted here (PAYLOAD_KEYS): nothing can search them")
    if not reveal:
        types = secrets.types_that_show(path)
        if not types:
            raise _refused(term, f"{path} is secret or unknown: use another payload field")
        yield {"type": {"$in": types}}
    field = f"payload.{path}"
    yield {field: _compared(term)} if term.operator else _literally(field, term.value)


def _literally(field: str, value: str) -> Document:
    """A text, in which * stands for anything; what reads as JSON is also looked for as that."""
    if "*" in value:
        pattern = ".*".join(map(re.escape, value.split("*")))
        return {field: {"$regex": f"^{pattern}$", "$options": "s"}}
    if value == "null":  # by its type: a field that is not there equals null
        return {"$or": [{field: value}, {field: {"$type": "null"}}]}
    also = BOOLEANS.get(value, number(value))
    return {field: {"$in": [value] if also is None else [value, also]}}


def _refused(term: Term, message: str) -> InvalidRequest:
    return BadQuery(term.start + 1, f"{message}.")


# --- when a job was created -------------------------------------------------------------------


def between(moment: str, since: datetime | None, until: datetime | None) -> list[Document]:
    """Return the conditions on what was made at its `moment`, in [since, until); `None`: no bound.

    The id begins with its second of birth, by the maker's clock: it narrows the read, the exact
    bounds are those of the moment.
    """
    bounds: list[Document] = []
    if since:
        bounds += [{"_id": {"$gte": id_near(since, -SLACK)}}, {moment: {"$gte": since}}]
    if until:
        bounds += [{"_id": {"$lte": id_near(until, SLACK)}}, {moment: {"$lt": until}}]
    return bounds


def id_near(moment: datetime, away: timedelta) -> ObjectId:
    """Return the least id of a second that far from a moment."""
    second = int(moment.timestamp() + away.total_seconds())
    return ObjectId(min(max(second, 0), 0xFFFFFFFF).to_bytes(4) + bytes(8))


# --- the walk ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """Ids in the order asked for; `edge`: the last one looked at, if there are more behind it."""

    ids: list[ObjectId]
    edge: ObjectId | None


@dataclass(frozen=True)
class Walk:
    """Which jobs are gone through, by way of which index, and what is looked for among them."""

    index: str
    selected: list[Document]
    sought: list[Document]

    def match(self) -> Document:
        return {"$and": self.selected} if self.selected else {}

    def as_far_as(self, edge: ObjectId | None, order: int) -> Document:
        """What is found of the jobs up to `edge`; `None`: of all."""
        bound = [{"_id": {"$lte" if order > 0 else "$gte": edge}}] if edge else []
        every = [*self.selected, *bound, *self.sought]
        return {"$and": every} if every else {}


def find(every: Sequence[Document], totals: Mapping[str, int], order: int, limit: int) -> Found:
    """Return up to `limit` jobs for which every condition holds, by age.

    `totals`: how many jobs there are in each state, about.
    """
    walk, jobs = _walk(every, totals), collection("jobs")
    with mongodb.within(mongodb.QUERY_SECONDS):
        edge = _edge(walk, order, EXAMINED) if walk.sought else None
        found = jobs.find(walk.as_far_as(edge, order), {"_id": 1}, hint=walk.index)
        ids = [job["_id"] for job in found.sort("_id", order).limit(limit)]
    return Found(ids, edge if len(ids) < limit else None)


def _edge(walk: Walk, order: int, most: int) -> ObjectId | None:
    """Return the last of the first `most` jobs of a walk; `None`: there are no more than those.

    It is read first and searched up to: jobs come and go, so a place counted later is another job.
    """
    found = collection("jobs").find(walk.match(), {"_id": 1}, hint=walk.index)
    last = [job["_id"] for job in found.sort("_id", order).skip(most - 1).limit(2)]
    return last[0] if len(last) == 2 else None


@dataclass(frozen=True)
class Count:
    """How many jobs match; `more`: there may be others behind those that were looked into."""

    jobs: int
    more: bool = False


def count(every: Sequence[Document], totals: Mapping[str, int]) -> dict[str, Count]:
    """Count the jobs for which every condition holds by state, each among its newest."""
    return {status: _count(every, status, totals) for status in totals}


def _count(every: Sequence[Document], status: str, totals: Mapping[str, int]) -> Count:
    if not totals[status]:
        return Count(0)
    few, in_it = totals[status] <= COUNTED, {"status": status}
    walk = Walk("by_status", [in_it], list(every)) if few else _walk([*every, in_it], totals)
    with mongodb.within(mongodb.QUERY_SECONDS):
        edge = _edge(walk, -1, COUNTED)
        found = collection("jobs").count_documents(walk.as_far_as(edge, -1), hint=walk.index)
    return Count(found, more=edge is not None)


def _walk(every: Sequence[Document], totals: Mapping[str, int]) -> Walk:
    """Choose the index that leaves least to go through."""
    ranges = [each for each in every if set(each) == {"_id"}]
    index, by_index = _index(every, totals)
    selected = [*ranges, *by_index]
    return Walk(index, selected, [each for each in every if each not in selected])


def _index(every: Sequence[Document], totals: Mapping[str, int]) -> tuple[str, list[Document]]:
    given = {name: each for each in every for name, value in each.items() if isinstance(value, str)}
    if any(isinstance(each.get("_id"), ObjectId) for each in every):
        return "_id_", []
    if "tags" in given:
        return "by_tag", [given["tags"]]
    status = given.get("status")
    if status and "fingerprint" in given and status["status"] == State.DEAD:
        return "letters", [status, given["fingerprint"]]
    few = status and totals.get(status["status"], 0) <= EXAMINED
    if status and (few or "type" not in given):
        return "by_status", [status]
    if "type" in given:
        return "by_type", [given["type"]]
    if (failed := {"status": {"$in": MAY_HAVE_FAILED}}) in every:
        return "by_status", [failed]
    return "_id_", []
