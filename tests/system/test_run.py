"""`make run`: everything on this machine, on a data folder of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("MONGODB_URI", "REDIS_URL", "DJANGO_SETTINGS_MODULE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start it: what it prints is in tmp_path/log."""
    runs = []

    def start(**env: str) -> subprocess.Popen[bytes]:
        chosen = {name: value for name, value in os.environ.items() if name not in OURS}
        chosen |= {"DATA_DIR": str(tmp_path / "data"), "PORT": str(free_port()), **env}
        with (tmp_path / "log").open("wb") as log:
            command = [sys.executable, "-m", "taskqueue.run"]
            runs.append(subprocess.Popen(command, cwd=ROOT, env=chosen, stdout=log, stderr=log))
        return runs[-1]

    yield start
    for each in runs:
        each.kill()
        each.wait()


def collections(data: Path) -> list[str]:
    """What its MongoDB holds by now."""
    told = data / "embedded.env"
    lines = told.read_text().splitlines() if told.exists() else []
    (uri,) = [line.partition("=")[2] for line in lines if line.startswith("MONGODB_URI=")] or [""]
    if not uri:
        return []
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        return client.get_default_database().list_collection_names()


def test_after_a_first_run_that_was_interrupted_the_next_is_ready_for_any_hosts(
    run: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, until: Callable[..., Any]
) -> None:
    first = run()
    until(lambda: "jobs" in collections(tmp_path / "data"))
    first.send_signal(signal.SIGINT)
    assert first.wait(30) == 0
    second = run(ALLOWED_HOSTS="queue.example.org")
    log = tmp_path / "log"
    until(lambda: "Ctrl-C stops everything" in log.read_text() or second.poll() is not None, 90)
    assert "Sign in     admin / " in log.read_text()
    assert "Not ready" not in log.read_text()
    second.send_signal(signal.SIGINT)
    assert second.wait(60) == 0
