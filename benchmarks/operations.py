"""`make operations`: many dead letters requeued in bulk, and what other calls feel of it meanwhile.

The operation is stopped midway and resumed, and the tree of workers killed in the second half. The
other calls, to a web process with the settings of production, are paced: a list, a job and a
submission in turn.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks import bench
from benchmarks.processes import Tree, kill_all, start, until
from benchmarks.stage import with_database
from benchmarks.systems.base import ROOT
from taskqueue import embedded
from taskqueue.embedded import free_port
from taskqueue.run import WEB

PACE_SECONDS = 0.05  # between two of the other calls
QUIET_SECONDS = 15.0  # how long the other calls are measured without an operation
MAIL = {"type": "send_email", "payload": {"to": "a@example.org", "subject": "Hi"}}
FILL = """
import django; django.setup()
from bson import ObjectId
from django.contrib.auth.models import User
from jobs import counting, roles, services
from jobs.clients import collection
id = services.enqueue("send_email", {"to": "a@example.org", "subject": "Hi"})
jobs = collection("jobs")
job = jobs.find_one_and_delete({"_id": ObjectId(id)})
job.pop("uncounted", None)
ended = {"status": "dead", "finished_at": job["created_at"], "error": "boom"}
for start in range(0, %d, 5000):
    jobs.insert_many([{**job, **ended, "_id": ObjectId()} for _ in range(5000)])
counting.correct()
user = User.objects.create_user("bench"); roles.give(user, "admin")
print(services.issue_token(user, actor="bench"))
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000, help="a multiple of 5,000")
    jobs = parser.parse_args(arguments).jobs
    with (
        tempfile.TemporaryDirectory(prefix="taskqueue-operations-") as name,
        embedded.running(Path(name)) as urls,
    ):
        folder = Path(name)
        uri = with_database(urls["MONGODB_URI"], "operations")
        env = {**os.environ, **urls, "MONGODB_URI": uri, "DATA_DIR": name, "LOG_LEVEL": "WARNING"}
        env["DJANGO_SETTINGS_MODULE"] = "taskqueue.settings"
        bench.migrate(uri, folder)
        fill = [sys.executable, "-c", FILL % jobs]
        token = subprocess.run(fill, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
        print(json.dumps(_measure(env, folder, token.stdout.split()[-1], jobs), indent=2))


def _measure(env: dict[str, str], folder: Path, token: str, jobs: int) -> dict[str, Any]:
    address = f"127.0.0.1:{free_port()}"
    web = start([*WEB, "--bind", address], env, folder / "web.log")
    tree = _tree(env, folder)
    headers = {"Authorization": f"Token {token}"}
    base = f"http://{address}/api/v1/"
    try:
        with httpx.Client(base_url=base, headers=headers, timeout=60) as client:
            until(lambda: _answers(client), 30, "the web process answers")
            return _operate(client, env, folder, tree, jobs)
    finally:
        kill_all([web, *tree.members])


def _operate(
    client: httpx.Client, env: dict[str, str], folder: Path, tree: Tree, jobs: int
) -> dict[str, Any]:
    with _other_calls(client) as quiet:
        time.sleep(QUIET_SECONDS)
    began = time.monotonic()
    frozen = _post(client, "operations/preview/", {"action": "requeue", "filter": {}})
    preview = time.monotonic() - began
    assert frozen["count"] == jobs
    with _other_calls(client) as busy:
        began = time.monotonic()
        path = f"operations/{_post(client, 'operations/', {'token': frozen['token']})['id']}/"
        until(lambda: _of(client, path)["done"] >= jobs // 3, 600, "a third is done", 0.2)
        _post(client, f"{path}stop/", {})
        time.sleep(1)  # for the batch in hand
        stopped = _of(client, path)
        time.sleep(3)
        assert _of(client, path)["done"] == stopped["done"] < jobs
        _post(client, f"{path}resume/", {})
        until(lambda: _of(client, path)["done"] >= 2 * jobs // 3, 600, "two thirds", 0.2)
        kill_all(tree.members)  # kill -9 of the whole tree
        tree.members[:] = _tree(env, folder).members
        until(lambda: _of(client, path)["state"] == "completed", 900, "it is completed", 0.2)
        took = time.monotonic() - began
    ended = _of(client, path)
    assert (ended["done"], ended["skipped"]) == (jobs, 0)
    pending = client.get("stats/").json()["by_status"]["pending"]
    assert pending >= jobs
    return {
        "jobs": jobs,
        "preview_seconds": round(preview, 2),
        "seconds": round(took, 1),
        "stopped_at": stopped["done"],
        "done": ended["done"],
        "skipped": ended["skipped"],
        "quiet": _times(quiet),
        "meanwhile": _times(busy),
        "p99_ratio": round(_times(busy)["p99_ms"] / _times(quiet)["p99_ms"], 2),
    }


def _tree(env: dict[str, str], folder: Path) -> Tree:
    # Its workers serve another queue: what is requeued stays pending, so that it can be counted.
    options = ["--processes", "1", "--queues", "elsewhere"]
    return Tree([[sys.executable, "manage.py", "runworkers", *options]], env, folder / "tree.log")


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("stats/").status_code == 200
    except httpx.TransportError:
        return False


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = client.post(path, json=body).raise_for_status().json()
    return found


def _of(client: httpx.Client, path: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(path).raise_for_status().json()
    return found


@contextmanager
def _other_calls(client: httpx.Client) -> Iterator[list[float]]:
    """Make other calls at a steady pace; the list has how long each took, in seconds."""
    id = _post(client, "jobs/", MAIL)["id"]
    calls: list[Callable[[], httpx.Response]] = [
        lambda: client.get("jobs/", params={"status": "dead"}),
        lambda: client.get(f"jobs/{id}/"),
        lambda: client.post("jobs/", json=MAIL),
    ]
    took: list[float] = []
    ended = threading.Event()

    def call() -> None:
        for one in itertools.cycle(calls):
            began = time.monotonic()
            one().raise_for_status()
            took.append(time.monotonic() - began)
            if ended.wait(PACE_SECONDS):
                return

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield took
    finally:
        ended.set()
        caller.join()


def _times(seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100)
    shown = {"p50_ms": cuts[49], "p99_ms": cuts[98]}
    return {"calls": len(seconds), **{name: round(1000 * x, 1) for name, x in shown.items()}}


if __name__ == "__main__":
    main()
