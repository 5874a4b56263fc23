import os
import signal
import sys
import time
from pathlib import Path

import pytest
from bson import ObjectId

from jobs import services
from jobs.clients import collection
from tests.system.conftest import fill


def worker_of(document):
    return collection("workers").find_one({"_id": document["worker"]})


def test_a_killed_workers_job_runs_again_within_5_s_and_its_batch_mates_pay_nothing(
    tree, until, all_in, document
):
    before = fill(300)
    slow = services.enqueue("sleep", {"seconds": 1.5})
    fill(100)
    tree("--processes", "1")
    done = {"_id": {"$in": list(map(ObjectId, before))}, "status": "completed"}
    until(lambda: collection("jobs").count_documents(done) == len(before))
    until(lambda: document(slow)["status"] == "running")
    held = collection("jobs").count_documents({"status": "running"})
    os.kill(worker_of(document(slow))["pid"], signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: document(slow)["claim"] == 2)
    assert time.monotonic() - killed < 5
    all_in("completed")
    assert held >= 1
    others = collection("jobs").find({"type": "noop"})
    assert all((job["attempt"], job["crashes"]) == (1, 0) for job in others)
    done = document(slow)
    assert (done["attempt"], done["crashes"]) == (1, 1)
    assert [attempt["outcome"] for attempt in done["attempts"]] == ["crashed", "completed"]


def test_a_job_that_kills_its_worker_is_dead_after_three_crashes_and_workers_live(
    tree, until, all_in, document
):
    running = tree("--processes", "2")
    id = services.enqueue("crash", {})
    until(lambda: document(id)["status"] == "dead")
    crashed = document(id)
    assert (crashed["attempt"], crashed["crashes"]) == (0, 3)
    assert [attempt["outcome"] for attempt in crashed["attempts"]] == ["crashed"] * 3
    assert "SIGKILL" in crashed["error"]
    fill(20)
    until(lambda: collection("jobs").count_documents({"status": "completed"}) == 20)
    until(lambda: len(running.children("taskqueue: worker")) == 2)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can be told")
def test_where_memory_runs_out_a_worker_is_killed_before_its_supervisor_and_its_steward(
    tree, until
):
    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    running = tree("--processes", "1")
    until(lambda: running.children("taskqueue: worker") and running.children("taskqueue: steward"))
    (worker,), (steward,) = map(running.children, ("taskqueue: worker", "taskqueue: steward"))
    until(lambda: score(worker.pid) >= min(score(running.process.pid) + 300, 1000))
    assert score(steward.pid) == score(running.process.pid)


@pytest.mark.parametrize("type", ["wait", "async_wait"])
def test_each_of_many_that_run_in_a_killed_worker_is_charged_a_crash_and_runs_again(
    type, tree, until, all_in, document
):
    ids = fill(20, type=type, payload={"seconds": 3})
    waiting = fill(5, priority="low")
    running = tree("--processes", "1", "--concurrency", "20")
    until(lambda: running.log.count("wait.started") == len(ids))
    os.kill(worker_of(document(ids[0]))["pid"], signal.SIGKILL)
    all_in("completed")
    for job in map(document, ids):
        assert (job["attempt"], job["crashes"]) == (1, 1)
        assert [attempt["outcome"] for attempt in job["attempts"]] == ["crashed", "completed"]
    assert all((job["attempt"], job["crashes"]) == (1, 0) for job in map(document, waiting))


def test_a_job_past_its_timeout_is_killed_and_counts_as_a_failed_attempt(tree, until, document):
    id = services.enqueue("sleep", {"seconds": 60}, max_attempts=1)
    after = services.enqueue("noop", {}, priority="low")
    tree("--processes", "1", JOB_TIMEOUT_SECONDS="1")
    until(lambda: document(id)["status"] == "dead")
    (attempt,) = document(id)["attempts"]
    assert attempt["outcome"] == "timed_out"
    assert 1 <= (attempt["ended_at"] - attempt["started_at"]).total_seconds() < 4
    until(lambda: document(after)["status"] == "completed")


def test_when_a_whole_tree_dies_another_one_reaps_its_jobs(tree, until, document):
    quick = {"WORKER_HEARTBEAT_SECONDS": "0.5", "WORKER_LOST_SECONDS": "3"}
    id = services.enqueue("sleep", {"seconds": 2})
    doomed = tree("--processes", "1", **quick)
    until(lambda: document(id)["status"] == "running")
    doomed.kill()
    tree("--processes", "1", **quick)
    until(lambda: document(id)["status"] == "completed", 60)
    done = document(id)
    assert [attempt["outcome"] for attempt in done["attempts"]] == ["lost", "completed"]
    lost = collection("workers").find_one({"_id": done["attempts"][0]["worker"]})
    assert "no sign of life" in lost["end_reason"]


def test_a_killed_steward_is_replaced_and_retries_go_on(tree, until, document):
    running = tree("--processes", "1")
    until(lambda: running.children("taskqueue: steward"))
    running.children("taskqueue: steward")[0].kill()
    id = services.enqueue("noop", {}, delay=0.5)
    until(lambda: document(id)["status"] == "completed")


def test_children_do_not_outlive_a_killed_supervisor(tree, until):
    running = tree("--processes", "2")
    until(lambda: len(running.children("taskqueue:")) == 3)
    children = running.children("taskqueue:")
    running.signal(signal.SIGKILL)
    until(lambda: not any(child.is_running() for child in children), 10)
