"""The audit: who did what, when, from where. Rows are only ever added, each chained to the last.

A row has a number, `seq`, and a `hash` of its content and of the hash before it; a head record says
which is the last. So a row that is altered, deleted, inserted or moved is found by `verify`, and a
tail that is cut off too. See docs/decisions/0015-audit-chain.md.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.read_concern import ReadConcern

from jobs import origin
from jobs.clients import DURABLE, Document, collection, mongo
from jobs.mongodb import durable, now, repeated
from jobs.sharing import Shared

log = structlog.get_logger(__name__)

ROWS, HEAD = "audit", "audit_head"
GENESIS, LAST = "genesis", "last"  # the two documents of HEAD
SAID_EVERY = 100  # rows; then the log says the head, where nobody with the database can reach it
REFUSED_SECONDS = 60.0  # within which the same refusal is one row
REFUSALS = 10_000  # remembered at once
CUT = {"actor": 150, "action": 32, "target": 200, "detail": 4000}


def record(
    actor: str,
    action: str,
    target: str,
    *,
    detail: str = "",
    before: Any = None,
    after: Any = None,
    refused: bool = False,
) -> None:
    """Write down what `actor` did or was refused; where from is `origin.current()`.

    `before` and `after` are small JSON values, and never hold what is secret. Raises `StoreDown`.
    """
    where = origin.current()
    said = {"actor": actor, "action": action, "target": target, "detail": detail}
    row = {
        "_id": ObjectId(),
        "at": now(),
        **{name: _clean(text)[: CUT[name]] for name, text in said.items()},
        "token": where.token,
        "address": _clean(where.address),
        "via": where.via,
        "request_id": where.request_id,
        "before": before,
        "after": after,
        "refused": refused,
    }
    row["at"] = row["at"].replace(
        microsecond=row["at"].microsecond // 1000 * 1000
    )  # as BSON has it
    _rows.add(row)
    log.info(f"audit.{action}", target=row["target"], actor=row["actor"], refused=refused)


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


# --- the chain --------------------------------------------------------------------------------


def _append(rows: list[Document]) -> None:
    newest = _chained(rows)
    if newest["seq"] // SAID_EVERY != (newest["seq"] - len(rows)) // SAID_EVERY:
        log.info("audit.head", seq=newest["seq"], hash=newest["hash"])


@durable
def _chained(rows: list[Document]) -> Document:
    """Add rows to the chain, in one transaction with its head; return the new head.

    Two processes that append at once conflict, and MongoDB has one of them begin again.
    """
    begin()
    head = collection(HEAD)
    newest: Document = {}

    def append(session: ClientSession) -> None:
        taken = {"$inc": {"seq": len(rows)}}  # written before it is read: whoever is second waits
        after = ReturnDocument.AFTER
        last = head.find_one_and_update(
            {"_id": LAST}, taken, return_document=after, session=session
        )
        if last is None:
            raise RuntimeError("the head of the audit was deleted meanwhile")
        if collection(ROWS).find_one({"_id": rows[0]["_id"]}, session=session):
            session.abort_transaction()  # our own first try, whose reply was lost
            newest.update(seq=last["seq"] - len(rows), hash=last["hash"])
            return
        previous = last["hash"]
        for seq, row in enumerate(rows, last["seq"] - len(rows) + 1):
            row["seq"] = seq
            row["hash"] = previous = hash_of(row, previous)
        collection(ROWS).insert_many(rows, session=session)
        head.update_one({"_id": LAST}, {"$set": {"hash": previous}}, session=session)
        newest.update(seq=last["seq"], hash=previous)

    with mongo().client.start_session() as session:
        session.with_transaction(
            append, read_concern=ReadConcern("snapshot"), write_concern=DURABLE
        )
    return newest


_rows = Shared(_append, most=100)


def hash_of(row: Mapping[str, Any], previous: str) -> str:
    """Return the hash of a row that follows the hash `previous`: of every field but its own."""
    content = {name: value for name, value in row.items() if name not in ("_id", "hash")}
    return _sha256(previous, content)


def _sha256(previous: str, content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, default=_as_text, ensure_ascii=True)
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()


def _as_text(value: Any) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


@repeated
def begin() -> None:
    """Begin the chain unless it has begun. Rows that are there without a number come before it.

    Their count and hash are in the genesis record, so that they cannot be changed unseen either. A
    head that is lost while there are rows begins again at the last of them, and says so for good.
    """
    head = collection(HEAD)
    if head.find_one({"_id": LAST}, {"_id": 1}):
        return
    if not head.find_one({"_id": GENESIS}):
        count, digest = _earlier()
        first = {"at": now().isoformat(), "earlier": count, "earlier_hash": digest}
        genesis = {**first, "hash": _sha256("", first)}
        head.update_one({"_id": GENESIS}, {"$setOnInsert": genesis}, upsert=True)
    genesis = head.find_one({"_id": GENESIS}) or {}
    newest = collection(ROWS).find_one({"seq": {"$gt": 0}}, sort=[("seq", -1)])
    start = newest or {"seq": 0, "hash": genesis["hash"]}
    last = {"seq": start["seq"], "hash": start["hash"], "lost_before": start["seq"]}
    head.update_one({"_id": LAST}, {"$setOnInsert": last}, upsert=True)


def _earlier() -> tuple[int, str]:
    """Count and hash the rows that have no number."""
    count, digest = 0, ""
    for row in collection(ROWS).find({"seq": None}).sort("_id", 1):
        count, digest = count + 1, _sha256(digest, {**row, "_id": str(row["_id"])})
    return count, digest


@dataclass(frozen=True)
class Verdict:
    """How many rows are in order, the head, and what is wrong first; `""`: nothing."""

    rows: int
    head: str
    fault: str


@repeated
def verify(*, seq: int = 0, said: str = "") -> Verdict:
    """Read the whole chain and return what is wrong with it first.

    With `seq` and the hash `said`, as a line of the log said them, that row must have been so too.
    """
    begin()
    head = {document["_id"]: document for document in collection(HEAD).find()}
    genesis, last = head[GENESIS], head[LAST]
    rows, previous, fault = 0, genesis["hash"], _fault_of_genesis(genesis, last)
    # Rows that are added meanwhile are beyond `last`: they are for the next time.
    known = {"seq": {"$lte": last["seq"], "$ne": None}}
    for row in _unless(fault, collection(ROWS).find(known).sort("seq", 1)):
        if fault := _fault(row, rows + 1, previous) or _unlike(row, seq, said):
            break
        rows, previous = rows + 1, row["hash"]
    if not fault and (rows, previous) != (last["seq"], last["hash"]):
        fault = (
            f"The chain ends at row {rows}, its head says {last['seq']}: rows were cut off at "
            "the end."
        )
    if not fault and seq > rows:
        fault = f"The chain ends at row {rows}; the log knew row {seq}: rows were cut off."
    return Verdict(rows, last["hash"], fault)


def _unless(fault: str, rows: Iterable[Document]) -> Iterator[Document]:
    return iter(()) if fault else iter(rows)


def _fault_of_genesis(genesis: Document, last: Document) -> str:
    first = {name: genesis.get(name) for name in ("at", "earlier", "earlier_hash")}
    if _sha256("", first) != genesis["hash"]:
        return "The genesis record was altered."
    if _earlier() != (genesis["earlier"], genesis["earlier_hash"]):
        return "A row from before the chain was altered or deleted, or one was inserted unchained."
    if lost := last.get("lost_before"):
        return f"The head was deleted when row {lost} was the last: rows after it may be missing."
    return ""


def _fault(row: Document, seq: int, previous: str) -> str:
    if row["seq"] < seq:
        return f"Row {row['seq']} is there twice: one was inserted (id {row['_id']})."
    if row["seq"] > seq:
        return f"Row {seq} is missing; after {seq - 1} comes {row['seq']} (id {row['_id']})."
    if row.get("hash") != hash_of(row, previous):
        return f"Row {seq} (id {row['_id']}) is not as it was written: altered, moved or inserted."
    return ""


def _unlike(row: Document, seq: int, said: str) -> str:
    if row["seq"] != seq or row["hash"] == said:
        return ""
    return f"Row {seq} has another hash than the log says: the chain was written anew."


# --- what was refused -------------------------------------------------------------------------


class _Refusals:
    """Tells whether a refusal needs a row: within a minute, those alike have one a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], list[float]] = {}  # until when, and how many since

    def another(self, alike: tuple[str, str]) -> int | None:
        """Return how many were left out since the last row; `None`: leave this one out too."""
        with self._lock:
            until, left_out = self._seen.get(alike, (0.0, 0.0))
            moment = time.monotonic()
            if moment < until:
                self._seen[alike][1] += 1
                return None
            if len(self._seen) >= REFUSALS:
                self._seen.clear()
            self._seen[alike] = [moment + REFUSED_SECONDS, 0]
            return int(left_out)

    def forget(self) -> None:
        """Have the next refusal of each kind be written."""
        with self._lock:
            self._seen.clear()


refusals = _Refusals()


def refuse(actor: str, action: str, target: str, *, route: str, detail: str = "") -> None:
    """Write down that `actor` was refused; alike ones within a minute, by `route`, are one row."""
    left_out = refusals.another((actor, route))
    if left_out is None:
        return
    more = f" {left_out} more like it were refused since the last such row." if left_out else ""
    record(actor, action, target, detail=f"{detail}{more}".strip(), refused=True)
