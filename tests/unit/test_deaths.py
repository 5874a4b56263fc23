"""What the supervisor does about a worker that its job has ended, and what the job had started."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

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
