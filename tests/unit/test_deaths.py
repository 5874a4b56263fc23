"""What the supervisor does about a worker that its job has ended, and what the job had started."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from bson import ObjectId

from workers.board import Running
from workers.supervisor import Child, Supervisor


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """A supervisor of one worker, which has booted."""
    made = Supervisor(processes=1, concurrency=1, queues=[], burst=False, grace=60)
    made.board.enter(0, ObjectId())
    os.set_blocking(made._deaths_read, False)
    yield made
    for end in (made._deaths_read, made._deaths_write, made._wake_read, made._wake_write):
        os.close(end)


def begin(supervisor: Supervisor, deadline: float = 0.0) -> ObjectId:
    """Have its worker execute a job."""
    running = Running(ObjectId(), 1, time.monotonic(), deadline)
    supervisor.board.start(0, 0, running)
    return running.job


def reports(supervisor: Supervisor) -> list[Any]:
    """What the steward is told."""
    with suppress(BlockingIOError):
        return [json.loads(line) for line in os.read(supervisor._deaths_read, 4096).splitlines()]
    return []


@pytest.mark.parametrize("burst", [False, True])
def test_a_job_that_exits_with_0_is_charged_as_one_that_kills_its_worker(
    supervisor: Supervisor, burst: bool
) -> None:
    supervisor.burst = burst
    job = begin(supervisor)
    supervisor._died(Child(1, 0, time.monotonic()), 0)
    (report,) = reports(supervisor)
    assert report["running"] == [[str(job), 1, False]]
    assert (report["reason"], report["blame"]) == ("exited with code 0", True)
    assert [index for _, index in supervisor.restarts] == [0]


def test_a_worker_that_left_in_order_is_not_reported_nor_started_again_in_a_burst(
    supervisor: Supervisor,
) -> None:
    supervisor.burst = True
    supervisor._died(Child(1, 0, time.monotonic()), 0)
    assert reports(supervisor) == []
    assert supervisor.restarts == []


def gone(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.parametrize("end", ["too-late", "forced-stop", "crash", "leaves"])
def test_what_a_job_has_started_ends_with_its_worker(
    supervisor: Supervisor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    until: Callable[..., Any],
    end: str,
) -> None:
    def run() -> None:
        started = subprocess.Popen(["sleep", "60"])
        (tmp_path / "pid").write_text(f"{started.pid}\n")
        if end == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if end != "leaves":
            time.sleep(60)

    monkeypatch.setattr("workers.supervisor.Worker", lambda _: SimpleNamespace(run=run))
    supervisor._start(0)
    pid = int(until(lambda: said(tmp_path / "pid")))
    if end == "too-late":
        begin(supervisor, deadline=time.monotonic() - 1)
        supervisor._kill_overdue()
    elif end == "forced-stop":
        supervisor.stop_signals = 2
        supervisor._stop_workers()
    until(lambda: supervisor._bury_children() or not supervisor.children)
    until(lambda: gone(pid))


def said(path: Path) -> str:
    """What a process has written there, once it has written a line."""
    text = path.read_text() if path.exists() else ""
    return text if text.endswith("\n") else ""
