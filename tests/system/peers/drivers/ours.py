"""This project: a real `manage.py runworkers` on an embedded MongoDB."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
import redis

from taskqueue import embedded
from tests.system.peers.drivers.base import ROOT, WORKERS, Driver, inherited

SETTINGS = "tests.system.peers.ours.settings"
ENDED = ("completed", "dead", "cancelled")


@dataclass(frozen=True)
class Ours(Driver):
    def environment(self) -> dict[str, str]:
        settings = {
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "SECRET_KEY": "a key of the faults, long enough to be taken for a key",
        }
        return {**super().environment(), **settings, "LOG_LEVEL": "WARNING"}

    def members(self, url: str) -> list[list[str]]:
        return [[sys.executable, "manage.py", "runworkers", "--processes", str(WORKERS)]]

    def producer(self) -> list[str]:
        return [sys.executable, "-m", "tests.system.peers.ours.produce"]

    @contextlib.contextmanager
    def prepare(self, folder: Path) -> Iterator[dict[str, str]]:
        with embedded.running(folder / "stores", redis=False) as urls:
            variables = {**urls, "DATA_DIR": str(folder / "stores")}
            env = {**inherited(), **self.environment(), **variables}
            command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(command, cwd=ROOT, env=env, check=True, timeout=120)
            os.environ["FAULT_MONGODB_URI"] = urls["MONGODB_URI"]
            yield variables

    def held(self, client: "redis.Redis[str]") -> int:
        return _count({"status": {"$nin": list(ENDED)}})

    def failed(self, client: "redis.Redis[str]") -> int:
        return _count({"status": "dead"})

    def version(self) -> str:
        command = ["git", "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
        return f"this project at {commit or 'an unknown commit'}"


def _count(query: dict[str, Any]) -> int:
    client: pymongo.MongoClient[dict[str, Any]]
    with pymongo.MongoClient(os.environ["FAULT_MONGODB_URI"]) as client:
        return client.get_default_database()["jobs"].count_documents(query)


OURS = Ours(
    name="ours",
    label="This project",
    configuration="defaults: `WORKER_LOST_SECONDS` 30, `JOB_MAX_ATTEMPTS` 4; "
    "`runworkers --processes 3`, MongoDB with majority and journal",
    why="As `make run` starts it; MongoDB is not harmed in these rows, which are about Redis and "
    "workers, and its own faults have rows of their own.",
)
