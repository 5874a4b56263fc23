"""`make scale`: how the figures move with millions of jobs in the collection.

An empty database is measured first, then it is filled by direct inserts of copies of jobs that were
really accepted and really run, and measured again. What is pending waits in a queue of its own,
whose lane holds its ids but which no worker serves, so that the same 20,000 jobs are drained.
"""

import argparse
import base64
import itertools
import json
import os
import signal
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pymongo
from bson import ObjectId
from pymongo.write_concern import WriteConcern

from benchmarks import bench, report
from benchmarks.figures import errors
from benchmarks.processes import redis_server
from benchmarks.stage import BATCH, Document, Stage, database_of, stage, variables, with_database
from benchmarks.systems.base import ROOT
from benchmarks.systems.ours import OURS, commit
from benchmarks.workloads import Figures, rates

RESULTS = ROOT / ".bench" / "scale.json"
TYPES, WORKERS = 1_000, 200
BACKLOG = "backlog"
FILL_BATCH, FILL_THREADS = 2_000, 3
PAST = timedelta(days=1)  # over which the finished jobs are spread
REST_SECONDS = 360  # MongoDB passes by what was taken from an index for 300 s
ASKED = 50  # times that each query is asked
PAYLOADS = {"1 B": (1, 20_000), "1 KB": (1_000, 10_000), "100 KB": (100_000, 800)}
PAYLOADS["1 MB"] = (1_000_000, 64)
BATCH_BYTES = 8_000_000
ENDED_AT = ("started_at", "finished_at")
TITLES = [
    ("drain", "drain", "run: no-ops, jobs a second"),
    ("drain", "bulk", "enqueue in bulk, jobs a second"),
    ("rested", "milliseconds", "all queries of the overview, six minutes after the rounds, ms"),
    ("overview", "milliseconds", "all queries of the overview, right after them, ms"),
    ("overview", "stats", "- totals and lanes, ms"),
    ("overview", "minutes", "- the last hour, ms"),
    ("overview", "newest", "- newest jobs, ms"),
    ("overview", "dead", "- newest dead jobs, ms"),
    ("overview", "live_workers", "- live workers, ms"),
    ("overview", "rates", "- rates of a queue, ms"),
    ("overview", "samples", "- the totals of the last minutes, ms"),
    ("lists", "completed", "list: completed jobs, ms"),
    ("lists", "of_a_type", "list: jobs of one type, ms"),
    ("lists", "deep", "list: from the middle on, ms"),
    ("lists", "all_workers", "list: all workers, ms"),
]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--finished", type=int, default=5_000_000)
    parser.add_argument("--pending", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    for number in bench.STOPS:
        signal.signal(number, bench._stop)
    with (
        tempfile.TemporaryDirectory(prefix="taskqueue-scale-") as name,
        bench.mongod(Path(name)) as urls,
        redis_server(Path(name)) as redis,
    ):
        uri = with_database(urls["MONGODB_URI"], database_of(OURS))
        os.environ.update(variables(uri, Path(name)), REDIS_URL=redis, BENCH_TYPES=str(TYPES))
        bench.migrate(uri, Path(name))
        results = Scale(options, urls["MONGODB_URI"], redis).run()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n")
    print(report.scale_section(results))
    for line in errors(results):
        print(f"failed: {line}", file=sys.stderr)
    if options.output == RESULTS and report.MEASURED.exists():
        report.write()


class Scale:
    """One run."""

    def __init__(self, options: argparse.Namespace, mongodb: str, redis: str) -> None:
        import django

        django.setup()
        self.options = options
        self.mongodb = mongodb
        self.redis = redis
        client: pymongo.MongoClient[Document] = pymongo.MongoClient(os.environ["MONGODB_URI"])
        self.database = client.get_default_database()
        self.cells: list[dict[str, Any]] = []

    def run(self) -> dict[str, Any]:
        started = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        for size in PAYLOADS:
            self.measure(size, "payload", partial(self.payload, size))
        self.measure_all("empty")
        began = time.monotonic()
        self.fill()
        fill_seconds = time.monotonic() - began
        self.measure_all("full")
        facts = {
            "started": started,
            "commit": commit(),
            "machine": bench.machine(),
            "finished": self.options.finished,
            "pending": self.options.pending,
            "types": TYPES,
            "workers": WORKERS,
            "fill_seconds": fill_seconds,
            "stored_mib": self.database.command("dbStats", scale=2**20)["totalSize"],
            "cache_mib": self._cache_bytes() / 2**20,
            "payloads": list(PAYLOADS),
        }
        return {"facts": facts, "titles": TITLES, "cells": self.cells}

    def _cache_bytes(self) -> int:
        status = self.database.command("serverStatus")
        return int(status["wiredTiger"]["cache"]["maximum bytes configured"])

    # --- measuring

    def measure_all(self, place: str) -> None:
        with self.stage(as_it_is=place == "full"):  # the other one begins empty
            pass
        for _ in range(self.options.rounds):
            self.measure(place, "drain", self.drain)
        self.measure(place, "overview", overview)
        self.measure(place, "lists", lists)
        if place == "full":
            self.measure(place, "rested", self.rested)

    def measure(self, place: str, name: str, act: Callable[[], Figures]) -> None:
        """Do it and note its figures, whatever comes of it."""
        figures, error = Figures(), ""
        try:
            figures = act()
        except Exception as failure:  # the others are still worth having
            error = f"{type(failure).__name__}: {failure}"[:500]
        number = sum((one["system"], one["workload"]) == (place, name) for one in self.cells) + 1
        cell = {"round": number, "system": place, "workload": name}
        self.cells.append({**cell, "figures": figures, "error": error})
        shown = ", ".join(f"{key} {report.short(value)}" for key, value in figures.items())
        print(f"{place:6} {name:8} {error or shown}", flush=True)

    def stage(self, *, as_it_is: bool = True) -> AbstractContextManager[Stage]:
        return stage(OURS, "quick", self.mongodb, redis=self.redis, as_it_is=as_it_is)

    def drain(self) -> Figures:
        with self.stage() as place:
            enqueued, drained = rates(place, "noop", [], OURS.jobs)
        return {"drain": drained, "bulk": enqueued}

    def rested(self) -> Figures:
        """The same with idle workers, once MongoDB has forgotten what the rounds removed."""
        with self.stage() as place, place.tree(gated=False):
            time.sleep(REST_SECONDS)
            return overview()

    def payload(self, size: str) -> Figures:
        length, count = PAYLOADS[size]
        batch = max(min(BATCH, BATCH_BYTES // length), 1)
        with self.stage(as_it_is=False) as place:
            enqueued, drained = rates(place, "swallow", ["x" * length], count, batch)
        return {"enqueue": enqueued, "drain": drained}

    # --- filling

    def fill(self) -> None:
        """Put in what has finished, what is pending, and workers; then have it counted."""
        from jobs import repository, services

        finished, pending = self.templates()
        self.insert(finished_jobs(finished, self.options.finished))
        self.insert(pending_jobs(pending, self.options.pending), queued=True)
        repository.know_queue(BACKLOG)
        for number in range(WORKERS):
            worker = ObjectId()
            facts = {"supervisor": ObjectId(), "host": f"host-{number}", "pid": number + 1}
            services.register_worker(worker, ["default"], **facts, concurrency=1, version="0")
            if number % 2:
                services.end_worker(worker, "stopped")
        # What was inserted past the repository has moved no counter, so all is counted anew.
        print(f"counted anew: off by {services.recount()}", flush=True)
        self.database.client.admin.command("fsync")  # what is still to be written is no part of it

    def templates(self) -> tuple[Document, Document]:
        """A job that was really run, and one that was really accepted, as they are stored."""
        from jobs import services
        from jobs.clients import collection

        with self.stage() as place:
            rates(place, "noop", [], 1)
            (done,) = collection("jobs").find().sort("_id", -1).limit(1)
        id = ObjectId(services.enqueue("noop", {}, queue=BACKLOG))
        waits = collection("jobs").find_one_and_delete({"_id": id})
        assert waits
        assert done["status"] == "completed"
        for template in (done, waits):
            template.pop("uncounted", None)  # whatever is marked so would be counted a second time
        return done, waits

    def insert(self, documents: Iterator[Document], *, queued: bool = False) -> None:
        """Store them, quickly; `queued`: and put them into their lane."""
        from jobs import lanes
        from jobs.registry import Lane

        jobs = self.database.get_collection("jobs", write_concern=WriteConcern(w=1, j=False))
        batches = iter(lambda: list(itertools.islice(documents, FILL_BATCH)), [])
        taking = threading.Lock()

        def insert_all() -> None:
            while True:
                with taking:
                    batch = next(batches, None)
                if batch is None:
                    return
                jobs.insert_many(batch, ordered=False)
                lane = Lane(batch[0]["queue"], batch[0]["priority"])
                if queued and not lanes.push(hints_of(batch, lane)):
                    raise RuntimeError("Redis did not take the ids.")

        with ThreadPoolExecutor(FILL_THREADS) as pool:
            for done in [pool.submit(insert_all) for _ in range(FILL_THREADS)]:
                done.result()


def hints_of(batch: list[Document], lane: Any) -> list[Any]:
    from jobs.claims import Hint

    return [Hint(document["_id"], lane) for document in batch]


def finished_jobs(template: Document, count: int) -> Iterator[Document]:
    """Copies of a job that ran, spread over the last day, with ids of their time."""
    lasted = {name: template[name] - template["created_at"] for name in ENDED_AT}
    kept = template["expire_at"] - template["created_at"]
    (attempt,) = template["attempts"]
    random = os.urandom(5)
    first = datetime.now(UTC) - PAST
    step = PAST / max(count, 1)
    for number in range(count):
        at = first + number * step
        times = {name: at + lasted[name] for name in ENDED_AT}
        ended = {**attempt, "started_at": times["started_at"], "ended_at": times["finished_at"]}
        stamp = struct.pack(">I", int(at.timestamp())) + random
        yield {
            **template,
            **times,
            "_id": ObjectId(stamp + (number % 2**24).to_bytes(3, "big")),
            "type": f"type_{number % TYPES:04}",
            "created_at": at,
            "enqueued_at": at,
            "expire_at": at + kept,
            "attempts": [ended],
        }


def pending_jobs(template: Document, count: int) -> Iterator[Document]:
    """Copies of a job that was accepted, in the order of their ids."""
    now = datetime.now(UTC)
    for number in range(count):
        moment = now + number * timedelta(microseconds=1)
        place = {"created_at": moment, "enqueued_at": moment}
        yield {**template, **place, "_id": ObjectId(), "type": f"type_{number % TYPES:04}"}


def overview() -> Figures:
    """Milliseconds of what the overview asks, each the median of many."""
    from jobs import backlog, counting, counts, fleet, rows, series, services
    from jobs.clients import collection
    from jobs.selectors import JobFilter
    from jobs.views.overview import NEWEST_ROWS, newest_dead

    open_records = [each["_id"] for each in collection("workers").find({"ended_at": None})]
    services.heartbeat(open_records)

    def stats() -> None:
        counts.forget()
        counts.stats()

    asked: dict[str, Callable[[], object]] = {
        "stats": stats,
        "newest": lambda: rows.rows(JobFilter(), size=NEWEST_ROWS, fields=rows.SHORT),
        "dead": lambda: newest_dead(counts.stats()),
        "live_workers": lambda: fleet.hosts(fleet.groups(counts.stats().held)),
        "minutes": series.hour_and_errors,
        "rates": lambda: counting.rates([BACKLOG], backlog.RATE_MINUTES),
        "samples": series.recent_samples,
    }
    figures = {name: milliseconds(ask) for name, ask in asked.items()}
    return {**figures, "milliseconds": sum(figures.values())}


def lists() -> Figures:
    """Milliseconds of one page of a list, each the median of many."""
    from jobs import selectors
    from jobs.clients import collection
    from jobs.selectors import JobFilter

    (middle,) = collection("jobs").aggregate([{"$sample": {"size": 1}}, {"$project": {"_id": 1}}])
    cursor = base64.urlsafe_b64encode(middle["_id"].binary).decode()
    asked: dict[str, Callable[[], object]] = {
        "completed": lambda: selectors.jobs(JobFilter(status="completed")),
        "of_a_type": lambda: selectors.jobs(JobFilter(type="type_0007")),
        "deep": lambda: selectors.jobs(JobFilter(), cursor=cursor),
        "all_workers": lambda: (selectors.workers(), selectors.held_jobs()),
    }
    return {name: milliseconds(ask) for name, ask in asked.items()}


def milliseconds(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(ASKED):
        started = time.perf_counter()
        ask()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    main()
