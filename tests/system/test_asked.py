"""A real runworkers is quiet, resumes and stops when an operator asks it to."""

from jobs import services
from jobs.clients import collection
from tests.system.conftest import fill


def worker():
    """The record of the newest worker."""
    return collection("workers").find_one(sort=[("_id", -1)]) or {}


def test_quiet_lets_what_runs_end_and_takes_nothing_new_until_it_resumes(tree, until, document):
    running = tree("--processes", "1")
    held = services.enqueue("wait", {"seconds": 3})
    until(lambda: document(held)["status"] == "running")
    services.ask_workers(str(worker()["_id"]), "quiet", actor="ada")
    until(lambda: worker()["quiet"], seconds=5)
    (waiting,) = fill(1)
    until(lambda: document(held)["status"] == "completed")
    until(lambda: worker()["done"] == 1)
    assert document(waiting)["status"] == "pending"
    assert worker()["rss_bytes"] > 10_000_000
    assert "noop" in worker()["types"]
    services.ask_workers(str(worker()["_id"]), "resume", actor="ada")
    until(lambda: document(waiting)["status"] == "completed", seconds=5)
    assert running.log.count("workers.asked") == 2


def test_stop_is_as_a_sigterm(tree, until, document):
    running = tree("--processes", "1", WORKER_GRACE_SECONDS="20")
    held = services.enqueue("wait", {"seconds": 60})
    until(lambda: "wait.started" in running.log)
    services.ask_workers(str(worker()["_id"]), "stop", actor="ada")
    assert running.wait(20) == 0
    assert document(held)["result"] == {"stopped_early": True}
    logged = document(held)["attempts"][0]["logs"]
    assert ["wait.started" in line for line in logged] == [True, False]
    assert worker()["end_reason"] == "stopped"
