import os
import time
from dataclasses import replace
from datetime import timedelta

from bson import ObjectId

from jobs import mongodb, repository, services
from jobs.clients import collection
from jobs.services import Execution
from tests.services.conftest import WORKER, stored
from workers.board import Board
from workers.records import register_boot
from workers.steward import Steward

FACTS = {"supervisor": ObjectId(), "host": "h", "pid": 1, "concurrency": 1, "version": "0"}
NO_PIPE = -1


def register(worker=WORKER, silent_for=0.0):
    services.register_worker(worker, ["default"], **FACTS)
    at = mongodb.now() - timedelta(seconds=silent_for)
    collection("workers").update_one({"_id": worker}, {"$set": {"heartbeat_at": at}})


def ended():
    return collection("workers").find_one({"_id": WORKER})["end_reason"]


def test_a_silent_workers_jobs_are_taken_back_and_charged_a_crash(claim):
    register(silent_for=60)
    id = services.enqueue("echo", {})
    claim()
    assert services.reap(30) == 1
    job = stored(id)
    assert (job["status"], job["crashes"], job["attempt"]) == ("pending", 1, 0)
    assert job["attempts"][0]["outcome"] == "lost"
    assert [str(job.id) for job in claim()] == [id]
    assert "no sign of life" in ended()


def test_a_live_workers_jobs_are_left_alone(claim):
    register(silent_for=20)
    id = services.enqueue("echo", {})
    claim()
    assert services.reap(30) == 0
    assert stored(id)["status"] == "running"
    assert ended() is None


def test_a_holder_that_nobody_knows_is_lost_too(claim):
    id = services.enqueue("echo", {})
    claim()
    assert services.reap(30) == 1
    assert stored(id)["status"] == "pending"


def test_what_was_lost_together_twice_comes_back_at_different_times(claim):
    register(silent_for=60)
    ids = [services.enqueue("echo", {}) for _ in range(3)]
    collection("jobs").update_many({}, {"$set": {"crashes": 1}})
    claim()
    before = mongodb.now()
    services.reap(30)
    jobs = [stored(id) for id in ids]
    assert {(job["status"], job["crashes"], job["attempt"]) for job in jobs} == {("retrying", 2, 0)}
    waits = [(job["run_at"] - before).total_seconds() for job in jobs]
    assert len(set(waits)) == 3
    assert max(waits) < services.APART_SECONDS + 5


def test_only_of_several_that_ran_in_a_dead_worker_the_cause_is_in_doubt(claim):
    register()
    a, b, alone = (services.enqueue("echo", {}) for _ in range(3))
    collection("jobs").update_many({}, {"$set": {"crashes": 1}})
    first, second, third = (Execution(job.id, 1, overdue=False) for job in claim())
    services.bury(WORKER, "killed", [first, second], blame=True)
    assert {stored(id)["status"] for id in (a, b)} == {"retrying"}
    claim()
    services.bury(WORKER, "killed", [replace(third, claim=2)], blame=True)
    assert stored(alone)["status"] == "pending"


def test_a_worker_given_up_by_mistake_lives_again_with_its_next_heartbeat(claim):
    register(silent_for=60)
    services.reap(30)
    assert ended() is not None
    services.heartbeat([WORKER])
    assert ended() is None
    assert repository.live_workers(30) == [WORKER]


def test_a_worker_whose_record_is_gone_is_known_again_after_a_heartbeat_and_keeps_its_job(claim):
    board, supervisor = Board(2, 3, ["default"]), ObjectId()
    board.enter(1, WORKER)
    steward = Steward(board, supervisor, NO_PIPE)
    register_boot(WORKER, board, os.getpid(), supervisor)
    before = collection("workers").find_one({"_id": WORKER})
    services.enqueue("echo", {})
    (job,) = claim()
    collection("workers").delete_many({})  # MongoDB is back from a backup of before the boot
    steward.heartbeat()
    assert services.reap(30) == 0
    assert stored(job.id)["status"] == "running"
    after = collection("workers").find_one({"_id": WORKER})
    kept = before.keys() - {"started_at", "heartbeat_at"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert steward.no_reaping_until > time.monotonic() + 20  # the others need time for it too


def test_a_dead_worker_is_charged_for_what_it_ran_and_for_nothing_else(claim):
    register()
    ran, waited = (services.enqueue("echo", {}) for _ in range(2))
    first, _ = claim()
    services.bury(WORKER, "killed by SIGKILL", [Execution(first.id, 1, overdue=False)], blame=True)
    assert (stored(ran)["crashes"], stored(waited)["crashes"]) == (1, 0)
    assert "SIGKILL" in stored(ran)["error"]
    assert stored(waited)["attempts"] == []
    assert [str(job.id) for job in claim()] == [ran, waited]  # both at the head, in order
    assert ended() == "killed by SIGKILL"


def test_what_ran_past_its_timeout_failed_and_its_neighbours_are_given_back(claim):
    register()
    late, beside = (services.enqueue("echo", {}) for _ in range(2))
    a, b = claim()
    running = [Execution(a.id, 1, overdue=True), Execution(b.id, 1, overdue=False)]
    services.bury(WORKER, "killed", running, blame=True)
    assert stored(late)["status"] == "retrying"
    assert stored(late)["attempts"][0]["outcome"] == "timed_out"
    assert (stored(beside)["status"], stored(beside)["crashes"]) == ("pending", 0)


def test_a_worker_stopped_on_purpose_loses_nobody_an_attempt(claim):
    register()
    id = services.enqueue("echo", {})
    (job,) = claim()
    services.bury(WORKER, "stopped", [Execution(job.id, 1, overdue=False)], blame=False)
    assert (stored(id)["status"], stored(id)["crashes"], stored(id)["attempt"]) == ("pending", 0, 0)


def test_a_second_report_of_the_same_death_changes_nothing(claim):
    register()
    id = services.enqueue("echo", {})
    (job,) = claim()
    for _ in range(2):
        services.bury(WORKER, "killed", [Execution(job.id, 1, overdue=False)], blame=True)
    assert stored(id)["crashes"] == 1


def test_the_oldest_live_supervisor_leads():
    old, new = ObjectId(), ObjectId()
    for supervisor in (new, old):
        facts = {**FACTS, "supervisor": supervisor}
        services.register_worker(ObjectId(), ["default"], **facts)
    assert services.is_leader(old, 12)
    assert not services.is_leader(new, 12)
    silence = mongodb.now() - timedelta(seconds=60)
    collection("workers").update_one({"supervisor": old}, {"$set": {"heartbeat_at": silence}})
    assert services.is_leader(new, 12)
