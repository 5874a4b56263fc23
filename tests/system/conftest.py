"""Real `runworkers` trees, as processes of their own, on the test's own database and prefix."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings

from jobs import demo, selectors, services  # noqa: F401 - demo registers its job types here too
from jobs.clients import Document, collection
from jobs.requests import Request
from tests.system import tasks  # noqa: F401 - as demo

ROOT = Path(__file__).parents[2]


class Tree:
    """A supervisor and its children. `log` is what they have printed so far."""

    def __init__(self, log: Path, env: dict[str, str], *options: str) -> None:
        self._log = log
        with log.open("ab") as output:
            command = [sys.executable, "manage.py", "runworkers", *options]
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=output, stderr=output, start_new_session=True
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def children(self, title: str) -> list[psutil.Process]:
        """The children whose process title begins so: "taskqueue: worker", "taskqueue: steward"."""
        family = psutil.Process(self.process.pid).children()
        return [child for child in family if _title(child).startswith(title)]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def signal_all(self, number: int) -> None:
        """Signal the supervisor and all that came of it."""
        supervisor = psutil.Process(self.process.pid)
        for process in [supervisor, *supervisor.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def wait(self, seconds: float = 40) -> int:
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Kill everything at once, as a power cut would."""
        if self.process.poll() is None:
            self.signal_all(signal.SIGKILL)
            self.process.wait()


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


@pytest.fixture
def environment(stores: str, tmp_path: Path) -> dict[str, str]:
    """What a child process needs to work on this test's stores."""
    uri = re.sub(r"/taskqueue\b", f"/{stores}", os.environ["MONGODB_URI"])
    return {
        **os.environ,
        "MONGODB_URI": uri,
        "REDIS_URL": settings.REDIS_URL,
        "REDIS_PREFIX": settings.REDIS_PREFIX,
        "DATA_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "tests.system.settings",
        "DEMO_JOBS": "1",
        "SECRET_KEY": "a key of the tests, long enough to be taken for a key",
        "WORKER_GRACE_SECONDS": "5",
    }


@pytest.fixture
def tree(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Tree]]:
    """Start a tree: `tree("--processes", "1", WORKER_LOST_SECONDS="3")`; all end with the test."""
    trees: list[Tree] = []

    def start(*options: str, **extra: str) -> Tree:
        log = tmp_path / f"tree-{len(trees)}.log"
        trees.append(Tree(log, {**environment, **extra}, *options))
        return trees[-1]

    yield start
    for one in trees:
        one.kill()
        print(one.log)  # pytest shows it when the test has failed


@pytest.fixture
def document() -> Callable[[str], Document]:
    """Read a job as it is stored."""
    from bson import ObjectId

    return lambda id: collection("jobs").find_one({"_id": ObjectId(id)}) or {}


@pytest.fixture
def all_in(until: Callable[..., Any]) -> Callable[..., None]:
    """Wait until every job is in one of these states."""

    def wait(*states: str, seconds: float = 60) -> None:
        others = {"status": {"$nin": list(states)}}
        until(lambda: collection("jobs").find_one(others) is None, seconds)

    return wait


def fill(count: int, type: str = "noop", **chosen: Any) -> list[str]:
    """Enqueue many jobs at once."""
    payload = chosen.pop("payload", {})
    request = Request(type=type, payload=payload, **chosen)
    return services.enqueue_many([request] * count)
