"""What real processes write to their logs, also when they cannot start or when they die."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from taskqueue.embedded import free_port
from taskqueue.run import ROOT, WEB

Events = list[dict[str, Any]]
MODULE = "taskqueue.settings"
FAILED = (3, 1)  # 1: gunicorn's master raises when a second worker fails while it ends the others
DEATH = """
import functools, threading
import django
django.setup()
from workers import supervisor, worker

def broken(*_):
    raise ValueError("no more\\n12:00:00 [info] forged")

"""
A_JOBS_THREAD = """
thread = threading.Thread(target=broken)
own = []
threading.excepthook = functools.partial(worker._lost_thread, own)
thread.start()
thread.join()
"""
A_THREAD = A_JOBS_THREAD.replace("own = []", "own = [thread]")
A_PROCESS = """
supervisor.Worker = supervisor.Steward = broken
supervisor.TICK_SECONDS = supervisor.RESTART_SECONDS = 0.01
options = {"queues": ["default"], "burst": False, "grace": 1}
supervisor.Supervisor(processes=1, concurrency=1, **options).run()
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]:
    """Run a program for the length of a block; what it writes is in tmp_path/log."""

    @contextlib.contextmanager
    def start(*command: str, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
        env = os.environ | {"DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": MODULE} | extra
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    return start


def written(folder: Path) -> str:
    return (folder / "log").read_text()


def events(folder: Path) -> Events:
    """Every line, as the JSON object that it must be."""
    found = [json.loads(line) for line in written(folder).splitlines()]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in found)
    return found


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
            return True
    except OSError:
        return False


def web(port: int) -> list[str]:
    """gunicorn as `make run` starts it, but as talkative as in the image."""
    return [*WEB, "--log-level", "info", "--bind", f"127.0.0.1:{port}"]


def test_gunicorn_starts_and_stops_in_json(start: Any, until: Any, tmp_path: Path) -> None:
    port = free_port()
    with start(*web(port), LOG_JSON="True") as process:
        until(lambda: answers(port))
        process.terminate()
        assert process.wait(30) == 0
    found = events(tmp_path)
    said = [line["event"] for line in found]
    assert f"Listening at: http://127.0.0.1:{port} ({process.pid})" in said
    assert sum(text.startswith("Booting worker with pid") for text in said) == 2
    assert said[-1] == "Shutting down: Master"
    assert any("No directory at" in text for text in said)  # a warning of Python's
    assert "healthz" not in written(tmp_path)  # it has no access log


def test_an_application_that_fails_to_boot_says_so_in_json(start: Any, tmp_path: Path) -> None:
    with start(*web(free_port()), LOG_JSON="1", HTTPS="1", SECRET_KEY="") as process:
        assert process.wait(60) in FAILED
    found = events(tmp_path)
    (failed, *_) = [line for line in found if line["event"] == "Exception in worker process"]
    assert failed["level"] == "error"
    assert failed["exception"].startswith("Traceback (most recent call last):\n")
    assert "ImproperlyConfigured: HTTPS=1 needs a SECRET_KEY" in failed["exception"]
    assert "Worker failed to boot" in written(tmp_path)
    assert found[-1]["level"] in ("error", "critical")


def test_a_worker_that_is_aborted_says_so_in_json(start: Any, until: Any, tmp_path: Path) -> None:
    port = free_port()
    with start(*web(port), LOG_JSON="1") as process:
        until(lambda: answers(port))
        (pid, *_) = [
            line["event"].rpartition(" ")[2]
            for line in events(tmp_path)
            if line["event"].startswith("Booting")
        ]
        os.kill(int(pid), signal.SIGKILL)
        until(lambda: "SIGKILL" in written(tmp_path))
        process.terminate()
        process.wait(30)
    (killed,) = [line for line in events(tmp_path) if "SIGKILL" in line["event"]]
    assert (killed["level"], pid in killed["event"]) == ("error", True)


def test_gunicorns_own_format_stays_in_text(start: Any, tmp_path: Path) -> None:
    with start(*web(free_port()), LOG_JSON="0", HTTPS="1", SECRET_KEY="") as process:
        assert process.wait(60) in FAILED
    assert f"[{process.pid}] [INFO] Listening at" in written(tmp_path)
    assert "[ERROR] Exception in worker process\nTraceback " in written(tmp_path)


@pytest.mark.parametrize(
    ("thread", "code", "event"),
    [(A_THREAD, 1, ("worker.crashed", "critical")), (A_JOBS_THREAD, 0, ("thread.failed", "error"))],
    ids=["with-its-worker", "of-a-job"],
)
def test_a_thread_that_dies_is_one_json_line(
    start: Any, tmp_path: Path, thread: str, code: int, event: tuple[str, str]
) -> None:
    with start(sys.executable, "-c", DEATH + thread, LOG_JSON="1") as process:
        assert process.wait(30) == code
    (died,) = events(tmp_path)
    assert (died["event"], died["level"]) == event
    assert died["exception"].startswith("Traceback (most recent call last):\n")
    assert "ValueError: no more" in died["exception"]


def test_workers_and_stewards_that_die_of_an_exception_are_json_lines(
    start: Any, until: Any, tmp_path: Path
) -> None:
    with start(sys.executable, "-c", DEATH + A_PROCESS, LOG_JSON="1"):
        until(lambda: {"worker.died", "steward.died"} <= whole_events(tmp_path).keys())
    found = whole_events(tmp_path)
    for name in ("worker.crashed", "steward.crashed"):
        assert found[name]["level"] == "critical"
        assert found[name]["exception"].startswith("Traceback (most recent call last):\n")
        assert "ValueError: no more" in found[name]["exception"]


def whole_events(folder: Path) -> dict[str, dict[str, Any]]:
    """The last line of each event; one that is being written does not count."""
    lines = written(folder).splitlines(keepends=True)
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return {line["event"]: line for line in found}


@pytest.mark.parametrize(
    ("code", "names"),
    [(A_THREAD, ["worker.crashed"]), (A_PROCESS, ["worker.crashed", "steward.crashed"])],
    ids=["thread", "process"],
)
def test_in_text_a_death_has_a_readable_traceback(
    start: Any, until: Any, tmp_path: Path, code: str, names: list[str]
) -> None:
    with start(sys.executable, "-c", DEATH + code, LOG_JSON="0"):
        until(lambda: all(f"[critical ] {name}" in written(tmp_path) for name in names))
        until(lambda: written(tmp_path).count("  | ValueError: no more\n") >= len(names))
    assert "  | Traceback (most recent call last):\n" in written(tmp_path)
