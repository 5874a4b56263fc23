"""`make viewers`: a hundred open pages that poll, what they cost, and what the workers feel of it.

Each viewer is logged in, has one of five pages open and asks every two seconds with the rev it has,
as the script of the pages does. First nothing happens, then workers drain a backlog without viewers
and one with them, several times; who is first changes, since the machine's speed does.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from benchmarks import bench
from benchmarks.processes import Failed, Tree, family, kill_all, start, tail, until
from taskqueue.embedded import free_port
from taskqueue.run import WEB

EVERY_SECONDS = 2.0
PAGES = ("/", "/jobs/", "/dead/", "/queues/", "/workers/")
ORDERS = (("without", "with"), ("with", "without"))
WARM_SECONDS = 5.0  # of viewers, before anything is measured
REV = re.compile(rb'name="rev" value="([^"]+)"')
WORKERS = [sys.executable, "manage.py", "runworkers"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument(
        "--seconds", type=float, default=30, help="of viewers while nothing happens"
    )
    parser.add_argument("--jobs", type=int, default=50_000, help="of each backlog; in thousands")
    parser.add_argument("--pairs", type=int, default=6, help="of drains")
    parser.add_argument("--stored", type=int, default=10_000, help="jobs there are beforehand")
    chosen = parser.parse_args(arguments)
    with bench.site("viewers") as folder:
        print(json.dumps(_measure(folder, chosen), indent=2))


def _measure(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    _fill(chosen.stored)
    sessions = _sessions(chosen.viewers)
    port = free_port()
    log = folder / "web.log"
    web = start([*WEB, "--bind", f"127.0.0.1:{port}"], dict(os.environ), log)
    tree = Tree([WORKERS], dict(os.environ), folder / "tree.log")
    try:
        until(lambda: _listens(port), 60, "the web process answers")
        until(_workers_live, 60, "workers are live")
        with _watched(port, sessions, web.pid, log) as idle:
            time.sleep(chosen.seconds)
        rates: dict[str, list[float]] = {"without": [], "with": []}
        busy: list[dict[str, Any]] = []
        for pair in range(chosen.pairs):
            for which in ORDERS[pair % 2]:
                watched = _watched(port, sessions, web.pid, log)
                with watched if which == "with" else nullcontext() as seen:
                    rates[which].append(_drain(chosen.jobs))
                if seen:
                    busy.append(seen)
    finally:
        kill_all([web, *tree.members])
    middle = {name: statistics.median(each) for name, each in rates.items()}
    return {
        "viewers": chosen.viewers,
        "jobs_stored": chosen.stored,
        "idle": idle,
        "draining": busy,
        "drained_per_second": {name: [round(r) for r in each] for name, each in rates.items()},
        "slower_by_percent": round(100 * (1 - middle["with"] / middle["without"]), 1),
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


def _drain(count: int) -> float:
    """Have the workers run so many jobs; return how many a second, from first end to last."""
    from bson import ObjectId

    from jobs import services
    from jobs.clients import collection
    from jobs.requests import Request

    services.pause("default", actor="benchmark")
    time.sleep(2)  # until the workers have heard
    first = ObjectId()
    for _ in range(count // 1000):
        services.enqueue_many([Request(type="noop", payload={})] * 1000)
    services.resume("default", actor="benchmark")
    jobs, these = collection("jobs"), {"_id": {"$gt": first}}
    unended = {"status": {"$in": ["pending", "running"]}}
    until(lambda: not jobs.count_documents(unended, limit=1), 600, "the backlog is drained", 0.2)
    span = {"$group": {"_id": 1, "a": {"$min": "$finished_at"}, "z": {"$max": "$finished_at"}}}
    (ends,) = jobs.aggregate([{"$match": these}, span])
    seconds: float = (ends["z"] - ends["a"]).total_seconds()
    return count / seconds


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
def _watched(port: int, sessions: list[str], pid: int, log: Path) -> Iterator[dict[str, Any]]:
    """Have viewers look meanwhile; the dictionary says what they saw, and what it cost."""
    found: dict[str, Any] = {}
    spawned = multiprocessing.get_context("spawn")
    begin, ended, answers = spawned.Event(), spawned.Event(), spawned.SimpleQueue()
    crowd = spawned.Process(target=_look, args=(port, sessions, begin, ended, answers))
    crowd.start()
    time.sleep(WARM_SECONDS)
    begin.set()
    before, began = _cpu_seconds(pid), time.monotonic()
    try:
        yield found
    finally:
        seconds, cpu = time.monotonic() - began, _cpu_seconds(pid) - before
        ended.set()
        statuses, took = answers.get()
        crowd.join()
    if strange := statuses.keys() - {200, 204}:
        raise Failed(f"viewers were answered {sorted(strange)}: {tail(log)}")
    cuts = statistics.quantiles(took, n=100)
    total = sum(statuses.values())
    found |= {
        "seconds": round(seconds, 1),
        "requests_per_second": round(total / seconds, 1),
        "p50_ms": round(1000 * cuts[49], 1),
        "p95_ms": round(1000 * cuts[94], 1),
        "cpu_percent_of_one_core": round(100 * cpu / seconds, 1),
        "share_of_204_percent": round(100 * statuses[204] / total, 1),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
    }


def _cpu_seconds(pid: int) -> float:
    times = [process.cpu_times() for process in family(pid)]
    return float(sum(time.user + time.system for time in times))


def _look(port: int, sessions: list[str], begin: Event, ended: Event, answers: Any) -> None:
    """Be all viewers, in a process of its own: their own work is not the web's."""
    answers.put(asyncio.run(_crowd(port, sessions, begin, ended)))


async def _crowd(
    port: int, sessions: list[str], begin: Event, ended: Event
) -> tuple[Counter[int], list[float]]:
    statuses, took = Counter[int](), list[float]()

    async def view(number: int, session: str) -> None:
        path, rev, lines = PAGES[number % len(PAGES)], b"", None
        await asyncio.sleep(EVERY_SECONDS * random.random())  # noqa: S311 - spreads them
        while not ended.is_set():
            asked = time.monotonic()
            lines, (status, body) = await _ask(port, f"{path}?rev={rev.decode()}", session, lines)
            if match := REV.search(body):
                rev = match[1]
            if begin.is_set() and not ended.is_set():
                statuses[status] += 1
                took.append(time.monotonic() - asked)
            await asyncio.sleep(max(0.0, asked + EVERY_SECONDS - time.monotonic()))

    await asyncio.gather(*(view(*each) for each in enumerate(sessions)))
    return statuses, took


Lines = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _ask(
    port: int, path: str, session: str, lines: Lines | None
) -> tuple[Lines | None, tuple[int, bytes]]:
    """Ask as htmx does, on the connection there is or, once it was closed, on another."""
    if lines is None or lines[0].at_eof():
        lines = await asyncio.open_connection("127.0.0.1", port)
    reader, writer = lines
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHX-Request: true\r\n"
    try:
        writer.write(f"{head}Cookie: sessionid={session}\r\n\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
    except (ConnectionError, asyncio.IncompleteReadError):
        return await _ask(port, path, session, None)
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", answer)
    body = await reader.readexactly(int(length[1])) if length else b""
    if b"\r\nConnection: close" in answer:
        writer.close()
        return None, (int(answer[9:12]), body)
    return lines, (int(answer[9:12]), body)


if __name__ == "__main__":
    main()
