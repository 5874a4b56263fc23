"""Async job types in real workers: one loop each, cancelled when late, killed if need be."""

from jobs import services
from jobs.clients import collection
from tests.system.conftest import fill


def pids(title, running):
    return {child.pid for child in running.children(title)}


def test_those_of_one_worker_share_a_loop(tree, all_in, document):
    ids = fill(20, type="async_sleep", payload={"seconds": 0.1})
    tree("--processes", "1", "--concurrency", "5")
    all_in("completed")
    results = [document(id)["result"] for id in ids]
    assert len({(result["pid"], result["loop"]) for result in results}) == 1


def test_one_may_enqueue_others(tree, until, all_in, document):
    parent = services.enqueue("async_parent", {})
    tree("--processes", "1")
    until(lambda: document(parent)["status"] == "completed")
    all_in("completed")
    assert document(document(parent)["result"])["type"] == "async_sleep"


def test_a_timeout_costs_neither_the_worker_nor_the_jobs_beside_it(tree, until, all_in, document):
    running = tree("--processes", "1", "--concurrency", "3")
    until(lambda: "worker.started" in running.log)
    workers = pids("taskqueue: worker", running)
    beside = [services.enqueue(type, {"seconds": 4}) for type in ("async_sleep", "sleep")]
    late = services.enqueue("async_late_once", {})
    all_in("completed")
    assert pids("taskqueue: worker", running) == workers
    assert [len(document(id)["attempts"]) for id in beside] == [1, 1]
    timed_out, completed = document(late)["attempts"]
    assert (timed_out["outcome"], completed["outcome"]) == ("timed_out", "completed")
    assert timed_out["error"] == "It ran past its timeout of 1 s and was cancelled."
    assert 1 <= (timed_out["ended_at"] - timed_out["started_at"]).total_seconds() < 4


def test_one_that_heeds_no_cancellation_is_killed_and_the_jobs_beside_it_pay_nothing(
    tree, until, all_in, document
):
    beside = services.enqueue("async_sleep", {"seconds": 10})
    deaf = services.enqueue("async_deaf", {})
    tree("--processes", "1", "--concurrency", "2")
    until(lambda: document(deaf)["status"] == "dead")
    (attempt,) = document(deaf)["attempts"]
    assert (attempt["outcome"], attempt["error_type"]) == ("timed_out", "TimeoutError")
    assert attempt["error"] == "It ran past its timeout of 1 s and was killed."
    least = 1 + services.CANCEL_SECONDS
    assert least <= (attempt["ended_at"] - attempt["started_at"]).total_seconds() < least + 4
    until(lambda: document(beside)["status"] == "completed")
    done = document(beside)
    assert (done["claim"], done["attempt"], done["crashes"]) == (2, 1, 0)


def test_one_that_blocks_the_loop_is_killed(tree, until, document):
    id = services.enqueue("async_block", {})
    after = services.enqueue("async_sleep", {"seconds": 0}, priority="low")
    tree("--processes", "1")
    until(lambda: document(id)["status"] == "dead")
    assert document(id)["attempts"][0]["outcome"] == "timed_out"
    until(lambda: document(after)["status"] == "completed")


def test_one_that_raises_systemexit_fails_and_its_worker_lives(tree, until, document):
    id = services.enqueue("async_exit", {})
    running = tree("--processes", "1")
    until(lambda: document(id)["status"] == "dead")
    assert document(id)["attempts"][0]["error_type"] == "SystemExit"
    (after,) = fill(1, type="async_sleep", payload={"seconds": 0})
    until(lambda: document(after)["status"] == "completed")
    assert "worker.died" not in running.log
    assert collection("workers").count_documents({}) == 1
