"""However often a stop is asked for, and by whom, what runs is not killed."""

import os
import signal
import time
from datetime import UTC, datetime

import pytest
from bson import ObjectId

from jobs import services
from jobs.claims import Asked
from workers.board import Board
from workers.steward import Steward
from workers.supervisor import Child, Supervisor

WORKER = 1_000_000_000  # no process has such an id
NO_PIPE = -1


@pytest.mark.parametrize("told_before", [True, False], ids=["and-by-sigterm", "by-page-alone"])
def test_a_stop_that_is_asked_for_twice_is_one_stop(
    monkeypatch: pytest.MonkeyPatch, told_before: bool
) -> None:
    supervisor = Supervisor(processes=1, concurrency=1, queues=[], burst=False, grace=60)
    supervisor.children[WORKER] = Child(WORKER, 0, time.monotonic())
    steward, heard, got = Steward(Board(1, 1, []), ObjectId(), NO_PIPE), list[int](), list[int]()

    def deliver(pid: int, number: int) -> None:
        if pid == WORKER:
            got.append(number)
        else:
            assert (pid, number in heard) == (os.getppid(), True)
            supervisor._count_stop(number)

    monkeypatch.setattr(os, "kill", deliver)
    monkeypatch.setattr(os, "killpg", deliver)
    monkeypatch.setattr(signal, "signal", lambda number, _: heard.append(number))
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda *_, **__: -1)
    supervisor._listen()
    if told_before:
        supervisor._count_stop(signal.SIGTERM)
    for second in (1, 2):
        asked = Asked("stop", datetime(2025, 1, 1, second=second, tzinfo=UTC), "ada")
        monkeypatch.setattr(services, "asked", lambda _, asked=asked: asked)
        steward.heed()
        supervisor._stop_workers()
    assert got == [signal.SIGTERM]
