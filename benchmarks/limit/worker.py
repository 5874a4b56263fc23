"""Three processes: take ids, claim, execute, record, as fast as bare code can.

The writes to jobs are those of `jobs.repository.claim` and `record` at the time of writing, spelled
out. It counts nothing: the receipt and the counts that this project writes with a group are extra.
"""

import ctypes
import os
import queue
import signal
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument

from benchmarks import handlers
from benchmarks.limit import LINE, Document, jobs, line

PROCESSES = 3
GROUP = 200
KEPT = timedelta(days=7)
PENDING = {"status": {"$in": ["pending"]}}
FIELDS = dict.fromkeys(
    ("type", "queue", "priority", "payload", "attempt", "max_attempts", "crashes", "claim"), 1
)
BY_ID = "_id_"
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
        self.jobs.update_many({"_id": {"$in": ids}, **PENDING}, change, hint=BY_ID)
        held = self.jobs.find({"_id": {"$in": ids}, "batch": batch}, FIELDS, hint=BY_ID)
        by_id = {job["_id"]: job for job in held}
        return [by_id[id] for id in ids if id in by_id]

    def record_all(self) -> None:
        while True:
            self.record(self.ended.get())

    def record(self, ends: list[Document]) -> None:
        ids = [end.pop("_id") for end in ends]
        guard = {
            "_id": {"$in": ids},
            "status": {"$in": ["running"]},
            "worker": self.worker,
            "claim": 1,  # each job here is claimed once
        }
        moment, server = time.monotonic(), datetime.now(UTC)
        fields = [self.fields(end, server, moment) for end in ends]
        change = [{"$replaceWith": {"$mergeObjects": ["$$ROOT", looked_up(ids, fields)]}}]
        written = self.jobs.update_many(guard, change, hint=BY_ID)
        if written.matched_count != len(ends):
            raise SystemExit(f"{written.matched_count} of {len(ends)} ends were recorded.")

    def fields(self, end: Document, server: datetime, moment: float) -> Document:
        ended = server - timedelta(seconds=moment - end["ended"])
        started = ended - timedelta(seconds=end["ended"] - end["started"])
        attempt = {
            "attempt": 1,
            "claim": 1,
            "worker": self.worker,
            "started_at": started,
            "ended_at": ended,
            "outcome": "completed",
            "error_type": "",
            "error": "",
            "traceback": "",
        }
        fields = {
            "status": "completed",
            "attempt": 1,
            "started_at": started,
            "attempts": [attempt],
            "finished_at": ended,
            "expire_at": ended + KEPT,
        }
        if end["result"] is not None:
            fields["result"] = end["result"]
        return fields


def execute(job: Document) -> Document:
    started = time.monotonic()
    result = getattr(handlers, job["type"])(*job["payload"].values())
    return {"_id": job["_id"], "started": started, "ended": time.monotonic(), "result": result}


def looked_up(ids: list[ObjectId], values: list[Any]) -> Document:
    return {"$arrayElemAt": [{"$literal": values}, {"$indexOfArray": [{"$literal": ids}, "$_id"]}]}


if __name__ == "__main__":
    main()
