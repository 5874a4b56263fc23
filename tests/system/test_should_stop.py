"""Long jobs end early when they are asked to: cancelled, lost after a pause, or at a stop."""

import os
import signal
import time

from jobs import services
from tests.system.conftest import fill

STOPPED = "wait.stopped_early"


def lines(running):
    return [line for line in running.log.splitlines() if STOPPED in line]


def test_a_cancelled_job_ends_early_and_its_worker_goes_on(tree, until, document):
    id = services.enqueue("wait", {"seconds": 60})
    running = tree("--processes", "1")
    until(lambda: document(id).get("status") == "running")
    services.cancel(id, actor="ada")
    cancelled = time.monotonic()
    until(lambda: lines(running))
    assert time.monotonic() - cancelled < 3
    (line,) = lines(running)
    assert all(part in line for part in (f"job={id}", "type=wait", "attempt=1", "claim=1"))
    until(lambda: "job.end_refused" in running.log)
    assert document(id)["status"] == "cancelled"
    (after,) = fill(1)
    until(lambda: document(after)["status"] == "completed")


def test_of_two_jobs_side_by_side_only_the_cancelled_one_ends(tree, until, document):
    kept, cancelled = fill(2, type="wait", payload={"seconds": 6})
    running = tree("--processes", "1", "--concurrency", "2")
    until(lambda: {document(id)["status"] for id in (kept, cancelled)} == {"running"})
    services.cancel(cancelled, actor="ada")
    until(lambda: lines(running))
    until(lambda: document(kept)["status"] == "completed")
    assert document(kept)["result"] == {"stopped_early": False}
    (line,) = lines(running)
    assert f"job={cancelled}" in line


def test_a_stop_ends_it_early_and_it_is_recorded(tree, until, document):
    id = services.enqueue("wait", {"seconds": 60})
    running = tree("--processes", "1", WORKER_GRACE_SECONDS="20")
    until(lambda: document(id)["status"] == "running")
    running.signal(signal.SIGTERM)
    told = time.monotonic()
    assert running.wait() == 0
    assert time.monotonic() - told < 10
    done = document(id)
    assert (done["status"], done["result"]) == ("completed", {"stopped_early": True})
    assert lines(running)


def test_a_job_that_was_taken_away_during_a_pause_ends_early(tree, until, document):
    quick = {"WORKER_HEARTBEAT_SECONDS": "0.5", "WORKER_LOST_SECONDS": "3"}
    reaper = tree("--processes", "1", "--queues", "other", **quick)  # the oldest, so it leads
    until(lambda: "worker.started" in reaper.log)
    id = services.enqueue("wait", {"seconds": 60})
    paused = tree("--processes", "1", **quick)
    until(lambda: document(id)["status"] == "running")
    os.killpg(paused.process.pid, signal.SIGSTOP)
    until(lambda: document(id)["status"] == "pending")
    os.killpg(paused.process.pid, signal.SIGCONT)
    until(lambda: lines(paused), 10)
    # The same worker takes it again: that execution is not the one that was told to stop.
    until(lambda: (document(id)["status"], document(id)["claim"]) == ("running", 2))
    time.sleep(2.5)
    (line,) = lines(paused)
    assert "claim=1" in line
    assert document(id)["status"] == "running"
