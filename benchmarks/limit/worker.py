"""Three processes: take ids, claim, execute, record, as fast as bare code can.

The writes are those of `jobs.repository.claim` and `record` at the time of writing, spelled out.
"""

import ctypes
import os
import queue
import signal
import threading
import time
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument

from benchmarks import handlers
from benchmarks.limit import LINE, Document, jobs, line

PROCESSES = 3
GROUP = 200
KEEP_MS = 7 * 86_400_000
PENDING = {"status": {"$in": ["pending"]}}
FIELDS = dict.fromkeys(
    ("type", "queue", "priority", "payload", "attempt", "max_attempts", "crashes", "claim"), 1
)
NOW = "$$NOW"
PR_SET_PDEATHSIG = 1


def main() -> None:
    parent = os.getpid()
    for _ in range(PROCESSES):
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                Loop().run()
            os._exit(1)
    os.wait()  # one that ends is a failure
    raise SystemExit(1)


class Loop:
    def __init__(self) -> None:
        self.worker = ObjectId()
        self.jobs = jobs()
        self.line = line()
        self.ended: queue.Queue[list[Document]] = queue.Queue(maxsize=1)
        threading.Thread(target=self.record_all, daemon=True).start()

    def run(self) -> None:
        while True:
            ids: Any = self.line.rpop(LINE, GROUP)
            if not ids and (reply := self.line.brpop([LINE], timeout=2)):
                ids = [reply[1]]
            if ids:
                self.ended.put([execute(job) for job in self.claim(list(map(ObjectId, ids)))])

    def claim(self, ids: list[ObjectId]) -> list[Document]:
        batch = ObjectId()
        change = {
            "$set": {"status": "running", "worker": self.worker, "batch": batch},
            "$inc": {"claim": 1},
            "$currentDate": {"started_at": True},
        }
        if len(ids) == 1:
            job = self.jobs.find_one_and_update(
                {"_id": ids[0], **PENDING}, change, FIELDS, return_document=ReturnDocument.AFTER
            )
            return [job] if job else []
        self.jobs.update_many({"_id": {"$in": ids}, **PENDING}, change)
        held = self.jobs.find({"_id": {"$in": ids}, "batch": batch}, FIELDS)
        by_id = {job["_id"]: job for job in held}
        return [by_id[id] for id in ids if id in by_id]

    def record_all(self) -> None:
        while True:
            self.record(self.ended.get())

    def record(self, ends: list[Document]) -> None:
        ids = [end.pop("_id") for end in ends]
        claims = [end.pop("claim") for end in ends]
        moment = time.monotonic()
        for end in ends:
            end["ago_ms"] = round((moment - end.pop("ended")) * 1000)
        guard = {
            "_id": {"$in": ids},
            "status": {"$in": ["running"]},
            "worker": self.worker,
            "$expr": {"$eq": ["$claim", looked_up(ids, claims)]},
        }
        written = self.jobs.update_many(guard, ending(ids, ends))
        if written.matched_count != len(ends):
            raise SystemExit(f"{written.matched_count} of {len(ends)} ends were recorded.")


def execute(job: Document) -> Document:
    started = time.monotonic()
    result = getattr(handlers, job["type"])(*job["payload"].values())
    ended = time.monotonic()
    return {
        "_id": job["_id"],
        "claim": job["claim"],
        "ended": ended,
        "status": "completed",
        "consumed": 1,
        "crashes": 0,
        "ran_ms": round((ended - started) * 1000),
        "delay_ms": None,
        "keep_ms": KEEP_MS,
        "result": result,
        "result_error": None,
        "outcome": "completed",
        "error_type": "",
        "error": None,
        "traceback": "",
    }


def looked_up(ids: list[ObjectId], values: list[Any]) -> Document:
    return {"$arrayElemAt": [{"$literal": values}, {"$indexOfArray": [{"$literal": ids}, "$_id"]}]}


def ending(ids: list[ObjectId], ends: list[Document]) -> list[Document]:
    ended_at = {"$subtract": [NOW, "$_end.ago_ms"]}
    attempt = {
        "attempt": {"$add": ["$attempt", 1]},
        "claim": "$claim",
        "worker": "$worker",
        "started_at": {"$ifNull": [{"$subtract": [ended_at, "$_end.ran_ms"]}, "$started_at"]},
        "ended_at": ended_at,
        "outcome": "$_end.outcome",
        "error_type": "$_end.error_type",
        "error": {"$ifNull": ["$_end.error", ""]},
        "traceback": "$_end.traceback",
    }
    final = {"$in": ["$_end.status", ["completed", "dead"]]}
    changes = {
        "status": "$_end.status",
        "attempt": {"$add": ["$attempt", "$_end.consumed"]},
        "crashes": {"$add": ["$crashes", "$_end.crashes"]},
        "attempts": {"$slice": [{"$concatArrays": ["$attempts", [attempt]]}, -50]},
        "run_at": {"$add": [NOW, "$_end.delay_ms"]},
        "expire_at": {"$add": [NOW, "$_end.keep_ms"]},
        "started_at": attempt["started_at"],
        "finished_at": {"$cond": [final, ended_at, None]},
        "result": "$_end.result",
        "result_error": "$_end.result_error",
        "error": "$_end.error",
    }
    return [{"$set": {"_end": looked_up(ids, ends)}}, {"$set": changes}, {"$unset": "_end"}]


if __name__ == "__main__":
    main()
