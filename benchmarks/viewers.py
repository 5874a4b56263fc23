"""`make viewers`: a hundred open pages that poll, what they cost, and what workers feel of it.

Each viewer is logged in, has one of five pages open and asks every two seconds, as the script of
the pages does. First nothing happens. Then workers drain some backlogs, and every few seconds the
viewers look away or look again: each such span is compared with the two around it, since the speed
of a drain changes more from minute to minute than viewers change it.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import bench, crowd
from benchmarks.processes import Failed, Tree, family, kill_all, start, tail, until
from taskqueue.embedded import free_port
from taskqueue.run import WEB

WARM_SECONDS = 5.0  # of viewers, before anything is measured
SETTLE_SECONDS = 2.0  # after they have looked away or begun to look: each has asked once by then
SPAN_SECONDS = 4.0  # a part is built every two
ANSWER_SECONDS = 10.0  # of the process that plays them
WORKERS = [sys.executable, "manage.py", "runworkers"]


@dataclass(frozen=True)
class Span:
    """Some seconds of a drain."""

    watched: bool
    rate: float  # jobs that ended in a second
    cpu: float = 0.0  # of the web processes, in percent of a core
    seen: crowd.Seen = field(default_factory=lambda: (Counter(), []))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument(
        "--seconds", type=float, default=120, help="of viewers while nothing happens"
    )
    parser.add_argument("--jobs", type=int, default=450_000, help="of each backlog; in thousands")
    parser.add_argument("--drains", type=int, default=6, help="two or more")
    parser.add_argument("--stored", type=int, default=10_000, help="jobs there are beforehand")
    chosen = parser.parse_args(arguments)
    with bench.site("viewers") as folder:
        print(json.dumps(_measure(folder, chosen), indent=2))


def _measure(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    _fill(chosen.stored)
    port, log = free_port(), folder / "web.log"
    web = start([*WEB, "--bind", f"127.0.0.1:{port}"], dict(os.environ), log)
    tree = Tree([WORKERS], dict(os.environ), folder / "tree.log")
    try:
        until(lambda: _listens(port), 60, "the web process answers")
        until(_workers_live, 60, "workers are live")
        with _crowd(port, _sessions(chosen.viewers)) as told:
            idle = _idle(told, web.pid, chosen.seconds)
            drains = [
                _drain(told, web.pid, chosen.jobs, watched=bool(number % 2))
                for number in range(chosen.drains)
            ]
    finally:
        kill_all([web, *tree.members])
    spans = [span for drain in drains for span in drain]
    watched = [span for span in spans if span.watched]
    slower = [statistics.mean(each) for drain in drains if (each := compared(drain))]
    if len(slower) < 2:
        raise Failed("too few spans to compare: let there be more jobs, or more drains")
    return {
        "viewers": chosen.viewers,
        "jobs_stored": chosen.stored,
        "idle": _summary(idle, log, chosen.seconds),
        "draining": _summary(watched, log, len(watched) * SPAN_SECONDS),
        "drained_per_second": {
            "without": round(statistics.median(s.rate for s in spans if not s.watched)),
            "with": round(statistics.median(span.rate for span in watched)),
        },
        "slower_by_percent_in_each_drain": [round(each, 1) for each in slower],
        "slower_by_percent": round(statistics.mean(slower), 1),
        "standard_error": round(statistics.stdev(slower) / len(slower) ** 0.5, 1),
    }


def compared(drain: Sequence[Span]) -> list[float]:
    """Return by how many percent the watched half of each span and its two neighbours was slower.

    Neighbours in time, which are of the other kind: what slows all alike cancels out.
    """
    found = []
    for before, span, after in zip(drain, drain[1:], drain[2:], strict=False):
        around = (before.rate + after.rate) / 2
        slow, fast = (span.rate, around) if span.watched else (around, span.rate)
        found.append(100 * (1 - slow / fast))
    return found


def _summary(spans: Sequence[Span], log: Path, seconds: float) -> dict[str, Any]:
    """Return what viewers cost and saw while they looked."""
    statuses, took = Counter[int](), list[float]()
    for span in spans:
        statuses.update(span.seen[0])
        took += span.seen[1]
    if strange := statuses.keys() - {200, 204}:
        raise Failed(f"viewers were answered {sorted(strange)}: {tail(log)}")
    cuts, total = statistics.quantiles(took, n=100), sum(statuses.values())
    return {
        "cpu_percent_of_one_core": round(statistics.mean(span.cpu for span in spans), 1),
        "requests_per_second": round(total / seconds, 1),
        "share_of_204_percent": round(100 * statuses[204] / total, 1),
        "p50_ms": round(1000 * cuts[49], 1),
        "p95_ms": round(1000 * cuts[94], 1),
    }


# --- jobs and people --------------------------------------------------------------------------


def _fill(stored: int) -> None:
    """Have jobs that ended: most completed, one in a hundred dead."""
    from bson import ObjectId

    from benchmarks.ours import tasks
    from jobs import counting
    from jobs.clients import collection

    jobs = collection("jobs")
    made = jobs.find_one_and_delete({"_id": ObjectId(tasks.noop.enqueue())})
    assert made
    made.pop("uncounted", None)
    made["finished_at"] = made["created_at"]
    for begin in range(0, stored, 5000):
        jobs.insert_many(
            {**made, "_id": ObjectId(), "status": "completed" if n % 100 else "dead"}
            for n in range(begin, min(begin + 5000, stored))
        )
    counting.correct()


def _sessions(count: int) -> list[str]:
    """Log operators in, without their passwords; return the keys of their sessions."""
    from django.contrib import auth
    from django.contrib.auth.models import User

    from jobs import roles
    from jobs.sessions import SessionStore

    keys = []
    for number in range(count):
        user = User.objects.create_user(f"viewer-{number}")
        roles.give(user, "operator")
        session = SessionStore()
        session[auth.SESSION_KEY] = str(user.pk)
        session[auth.BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[auth.HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        keys.append(str(session.session_key))
    return keys


def _backlog(count: int) -> Any:
    """Have so many jobs wait in a paused queue; return an id before theirs."""
    from bson import ObjectId

    from jobs import services
    from jobs.requests import Request

    services.pause("default", actor="benchmark")
    time.sleep(2)  # until the workers have heard
    first = ObjectId()
    for _ in range(count // 1000):
        services.enqueue_many([Request(type="noop", payload={})] * 1000)
    return first


def _drain(told: Connection, web: int, count: int, *, watched: bool) -> list[Span]:
    """Have workers drain a backlog while viewers look every other span; return all whole spans."""
    from jobs import services
    from jobs.clients import collection

    jobs, these = collection("jobs"), {"_id": {"$gt": _backlog(count)}}
    pending = {**these, "status": "pending"}
    spans: list[tuple[Span, datetime, datetime]] = []
    services.resume("default", actor="benchmark")
    while True:
        told.send("look" if watched else "nothing")
        time.sleep(SETTLE_SECONDS)
        begin = datetime.now(UTC)
        span = _span(told, web, SPAN_SECONDS, watched=watched)
        end = datetime.now(UTC)
        if not jobs.count_documents(pending, limit=1):
            break
        spans.append((span, begin, end))
        watched = not watched
    told.send("nothing")
    running = {**these, "status": {"$in": ["pending", "running"]}}
    until(lambda: not jobs.count_documents(running, limit=1), 60, "the backlog is drained", 0.2)

    def rate(begin: datetime, end: datetime) -> float:
        ended = jobs.count_documents({**these, "finished_at": {"$gte": begin, "$lt": end}})
        return float(ended / (end - begin).total_seconds())

    return [replace(span, rate=rate(begin, end)) for span, begin, end in spans]


def _workers_live() -> bool:
    from jobs import selectors

    return any(view.state == "live" for view in selectors.workers(ended=False))


def _listens(port: int) -> bool:
    import httpx

    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


# --- viewers ----------------------------------------------------------------------------------


@contextmanager
def _crowd(port: int, sessions: list[str]) -> Iterator[Connection]:
    """Play viewers in a process of their own: their own work is not the web's."""
    spawned = multiprocessing.get_context("spawn")
    told, telling = spawned.Pipe()
    process = spawned.Process(target=crowd.play, args=(port, sessions, telling))
    process.start()
    telling.close()  # so that its end is noticed
    try:
        yield told
    finally:
        with suppress(OSError):
            told.send("end")
        process.join()


def _idle(told: Connection, web: int, seconds: float) -> list[Span]:
    """Have viewers look while nothing happens."""
    told.send("look")
    time.sleep(WARM_SECONDS)
    span = _span(told, web, seconds, watched=True)
    told.send("nothing")
    return [span]


def _span(told: Connection, web: int, seconds: float, *, watched: bool) -> Span:
    _seen(told)  # is from before
    began, cpu = time.monotonic(), _cpu_seconds(web)
    time.sleep(seconds)
    cpu = (_cpu_seconds(web) - cpu) / (time.monotonic() - began)
    return Span(watched, 0.0, 100 * cpu, _seen(told))


def _seen(told: Connection) -> crowd.Seen:
    """Return what viewers saw since they were asked last."""
    try:
        told.send("tell")
        if not told.poll(ANSWER_SECONDS):
            raise Failed("the process that plays viewers does not answer")
        seen: crowd.Seen = told.recv()
    except (EOFError, OSError):
        raise Failed("the process that plays viewers has ended; above it says why") from None
    return seen


def _cpu_seconds(pid: int) -> float:
    times = [process.cpu_times() for process in family(pid)]
    return float(sum(time.user + time.system for time in times))


if __name__ == "__main__":
    main()
