from bson import ObjectId

from jobs import services
from jobs.claims import Holding
from jobs.clients import collection
from tests.services.conftest import WORKER

OTHER = ObjectId()


def holding(job, worker=WORKER):
    return Holding(worker, job.id, job.claim)


def claimed(claim, count):
    for _ in range(count):
        services.enqueue("echo", {})
    return claim(count)


def test_what_is_still_held_has_not_moved_on(claim):
    held = [holding(job) for job in claimed(claim, 3)]
    assert services.moved_on(held) == []


def test_what_was_cancelled_or_has_ended_or_is_gone_has_moved_on(claim):
    jobs = cancelled, ended, gone, _ = claimed(claim, 4)
    services.cancel(str(cancelled.id), actor="ada")
    services.record(WORKER, [services.completion(ended, started=0, ended=1)])
    collection("jobs").delete_one({"_id": gone.id})
    every = [holding(job) for job in jobs]
    assert services.moved_on(every) == every[:3]


def test_what_another_worker_took_or_the_same_one_took_again_has_moved_on(claim):
    first, again = (holding(job) for job in claimed(claim, 2))
    services.give_back(WORKER)
    (taken,) = (holding(job, OTHER) for job in claim(1, OTHER))
    (retaken,) = (holding(job) for job in claim(1))
    assert (taken.job, retaken.job) == (first.job, again.job)
    assert services.moved_on([first, again, taken, retaken]) == [first, again]


def test_nothing_to_ask_about_asks_nothing(monkeypatch):
    monkeypatch.setattr("jobs.repository.collection", None)
    assert services.moved_on([]) == []
