"""`make pages`: how long the server takes for every page and search, with a million jobs stored.

The jobs are copies of some that were really accepted and ended. Each page is asked for whole, as
by its first visitor: nothing of it is shared or remembered.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from benchmarks import bench

PIECE = 5_000
WARM = 2  # times each is asked for before
SHARES = {"completed": 960, "dead": 20, "pending": 20}  # of a thousand
Document = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000, help="stored")
    parser.add_argument(
        "--times", type=int, default=20, help="that each page is asked for, 2 or more"
    )
    chosen = parser.parse_args()
    os.environ["RATE_LIMIT_READ"] = "0"  # none
    with bench.site("pages"):
        _measure(chosen.jobs, chosen.times)


def _measure(jobs: int, times: int) -> None:
    known, client = _fill(jobs), _visitor()
    every: list[float] = []
    print(f"{jobs:,} jobs stored; milliseconds of {times} requests each")
    for path in _paths(known):
        took = _ask(client, path, times)
        every += took
        print(f"p50 {statistics.median(took):6.1f}  p95 {_p95(took):6.1f}  {path}", flush=True)
    print(f"p50 {statistics.median(every):6.1f}  p95 {_p95(every):6.1f}  all of them")


def _p95(took: list[float]) -> float:
    return statistics.quantiles(took, n=20)[18]


def _paths(known: dict[str, Document]) -> Iterator[str]:
    dead, pending = known["dead"], known["pending"]
    yield from ("/", "/jobs/", "/jobs/new/", "/dead/", "/operations/", "/queues/")
    yield from ("/queues/default/", "/workers/", "/tokens/", "/people/", "/system/", "/audit/")
    yield from (f"/jobs/{job['_id']}/" for job in known.values())
    yield f"/dead/groups/{dead['fingerprint']}/"
    searches = (
        f"id:{pending['_id']}",
        *("type:send_email", "state:dead", "state:completed type:send_email", "priority:medium"),
        *("tag:nightly", "tag:none-has-it", "queue:default", "age:<1h", "attempts:>0"),
        *('args.to:"customer-77@example.com"', "args.to:nobody@example.com"),
        *("error:timeout", "error:none-has-it", f"fingerprint:{dead['fingerprint']}"),
    )
    yield from (f"/jobs/?q={search}" for search in searches)


def _visitor() -> Any:
    """Return the client of somebody who may do everything and has logged in."""
    import_module("taskqueue.wsgi")  # be what a web process is

    from django.contrib.auth.models import User
    from django.test import Client

    from jobs import roles

    user = User.objects.create_user("somebody")
    roles.give(user, "admin")
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(user)
    return client


def _ask(client: Any, path: str, times: int) -> list[float]:
    from jobs import counts, series
    from jobs.templatetags import job_tags

    took = []
    for _ in range(WARM + times):
        counts.forget()
        series.forget()
        job_tags.rendered_row.cache_clear()
        began = time.perf_counter()
        answer = client.get(path)
        took.append(1000 * (time.perf_counter() - began))
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
    return took[WARM:]


# --- a million jobs ---------------------------------------------------------------------------


def _fill(count: int) -> dict[str, Document]:
    """Store that many jobs; return one of each state."""
    from jobs import counting
    from jobs.clients import collection

    patterns, jobs = _patterns(), collection("jobs")
    states = [state for state, share in SHARES.items() for _ in range(share)]
    for begin in range(0, count, PIECE):
        numbers = range(begin, min(begin + PIECE, count))
        jobs.insert_many(_copy(patterns[states[n * 7 % 1000]], n) for n in numbers)
    counting.correct()
    return patterns


def _copy(pattern: Document, number: int) -> Document:
    from bson import ObjectId

    payload = {**pattern["payload"], "to": f"customer-{number % 50_000}@example.com"}
    tags = ["nightly"] if number % 100 == 0 else []
    return {**pattern, "_id": ObjectId(), "payload": payload, "tags": tags}


def _patterns() -> dict[str, Document]:
    """Have a job completed, one dead and one waiting; return each as it is stored."""
    from bson import ObjectId

    from jobs import repository, services
    from jobs.clients import collection

    worker, payload = ObjectId(), {"to": "customer@example.com", "subject": "Your order"}
    ids = [ObjectId(services.enqueue("send_email", payload, max_attempts=1)) for _ in range(3)]
    good, bad = repository.claim(ids[:2], worker)
    now = time.monotonic()
    error: Document = {"error_type": "TimeoutError", "error": "timeout after 30 s"}
    services.record(
        worker,
        [
            services.completion(good, started=now - 0.2, ended=now, result={"delivered": True}),
            services.failure(bad, started=now - 0.2, ended=now, **error),
        ],
    )
    stored = [collection("jobs").find_one({"_id": id}, {"uncounted": 0}) or {} for id in ids]
    return dict(zip(SHARES, stored, strict=True))


if __name__ == "__main__":
    main()
