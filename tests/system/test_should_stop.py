"""Long jobs end early when they are asked to: cancelled, lost after a pause, or at a stop."""

import signal
import time

import pytest

from jobs import services
from tests.system.conftest import fill

WAITS = pytest.mark.parametrize("type", ["wait", "async_wait"])


def started(running):
    """The log lines of executions that have begun; a job is `running` a moment before."""
    return [line for line in running.log.splitlines() if "wait.started" in line]


def stopped_early(running):
    """The log lines of executions that ended early."""
    return [line for line in running.log.splitlines() if "wait.stopped_early" in line]


@WAITS
def test_a_cancelled_job_ends_early_and_its_worker_goes_on(type, tree, until, document):
    id = services.enqueue(type, {"seconds": 60})
    running = tree("--processes", "1")
    until(lambda: started(running))
    time.sleep(1)
    services.cancel(id, actor="ada")
    cancelled = time.monotonic()
    until(lambda: stopped_early(running))
    assert time.monotonic() - cancelled < 3
    (line,) = stopped_early(running)
    assert all(part in line for part in (f"job={id}", f"type={type}", "attempt=1", "claim=1"))
    until(lambda: "job.end_refused" in running.log)
    assert document(id)["status"] == "cancelled"
    (after,) = fill(1)
    until(lambda: document(after)["status"] == "completed")


@WAITS
def test_of_two_jobs_side_by_side_only_the_cancelled_one_ends(type, tree, until, document):
    kept, cancelled = (services.enqueue(type, {"seconds": each}) for each in (5, 60))
    running = tree("--processes", "1", "--concurrency", "2")
    until(lambda: len(started(running)) == 2)
    services.cancel(cancelled, actor="ada")
    until(lambda: stopped_early(running))
    until(lambda: document(kept)["status"] == "completed")
    assert document(kept)["result"] == {"stopped_early": False}
    (line,) = stopped_early(running)
    assert f"job={cancelled}" in line


@WAITS
def test_a_stop_ends_it_early_and_it_is_recorded(type, tree, until, document):
    id = services.enqueue(type, {"seconds": 60})
    running = tree("--processes", "1", WORKER_GRACE_SECONDS="20")
    until(lambda: started(running))
    running.signal(signal.SIGTERM)
    told = time.monotonic()
    assert running.wait() == 0
    assert time.monotonic() - told < 10
    done = document(id)
    assert (done["status"], done["result"]) == ("completed", {"stopped_early": True})
    assert stopped_early(running)


def test_a_job_that_was_taken_away_during_a_pause_ends_early(tree, until, document):
    quick = {"WORKER_HEARTBEAT_SECONDS": "0.5", "WORKER_LOST_SECONDS": "3"}
    reaper = tree("--processes", "1", "--queues", "other", **quick)  # the oldest, so it leads
    until(lambda: "worker.started" in reaper.log)
    id = services.enqueue("wait", {"seconds": 60})
    paused = tree("--processes", "1", **quick)
    until(lambda: started(paused))
    paused.signal_all(signal.SIGSTOP)
    until(lambda: document(id)["status"] == "pending")
    paused.signal_all(signal.SIGCONT)
    until(lambda: stopped_early(paused))
    assert "claim=1" in stopped_early(paused)[0]
    until(lambda: document(id)["status"] == "running" and document(id)["claim"] > 1)
