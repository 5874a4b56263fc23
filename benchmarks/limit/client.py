"""Enqueues this project's documents: bare `insert_one` + `LPUSH`, or bare `insert_many`."""

from typing import Any

import django
from bson import ObjectId

from benchmarks.limit import LINE, Document, jobs, line
from benchmarks.ours.client import payload

API_BULK = 100
NUMBERED = {name: [0] for name in ("sleep", "stamp", "mixed")}
SOME: dict[str, list[Any]] = {"noop": [], "result": [], "swallow": [""], **NUMBERED}


class Queue:
    def __init__(self) -> None:
        self.templates = _templates()
        self.jobs = jobs()
        self.line = line()
        self.unpushed: list[str] = []
        self.known: ObjectId | None = None  # a job that can be read
        self.jobs.database.command("ping")
        self.line.ping()

    def one(self, job: str, arguments: list[Any]) -> None:
        document = self._document(job, arguments)
        self.jobs.insert_one(document)
        self.line.lpush(LINE, str(document["_id"]))

    def bulk(self, job: str, many: list[list[Any]]) -> None:
        documents = [self._document(job, arguments) for arguments in many]
        self.jobs.insert_many(documents)
        ids = [str(document["_id"]) for document in documents]
        if job in ("stamp", "mixed"):  # its start is waited for
            self.line.lpush(LINE, *ids)
        else:
            self.unpushed += ids

    # What the API's verbs come down to.
    def post(self) -> None:
        document = self._document("noop", [])
        self.jobs.insert_one(document)
        self.known = document["_id"]

    def post_bulk(self) -> None:
        self.jobs.insert_many([self._document("noop", []) for _ in range(API_BULK)])

    def get(self) -> None:
        self.jobs.find_one({"_id": self.known})

    def settle(self) -> None:
        """Fill the line: the row for `insert_many` is that call alone."""
        for start in range(0, len(self.unpushed), 1_000):
            self.line.lpush(LINE, *self.unpushed[start : start + 1_000])
        self.unpushed.clear()

    def _document(self, job: str, arguments: list[Any]) -> Document:
        return {**self.templates[job], "_id": ObjectId(), "payload": payload(job, arguments)}


def _templates() -> dict[str, Document]:
    """What this project stores for a job of each type: accepted by its own code, and read back."""
    django.setup()
    from jobs import services
    from jobs.clients import collection
    from jobs.requests import Request

    requests = [Request(type=job, payload=payload(job, SOME[job])) for job in SOME]
    ids = [ObjectId(id) for id in services.enqueue_many(requests)]
    these = {"_id": {"$in": ids}}
    templates = {document["type"]: document for document in collection("jobs").find(these)}
    collection("jobs").delete_many(these)
    return templates


def queue() -> Queue:
    return Queue()
