from bson import ObjectId

from jobs import services
from jobs.clients import collection
from jobs.repository import End, Holding
from jobs.states import State
from tests.services.conftest import WORKER

OTHER = ObjectId()


def holding(job, worker=WORKER):
    return Holding(worker, job.id, job.claim)


def completed(holding):
    return End(holding.job, holding.claim, State.COMPLETED, "completed", started=0, ended=1)


def claimed(claim, count):
    for _ in range(count):
        services.enqueue("echo", {})
    return [holding(job) for job in claim(count)]


def test_what_is_still_held_has_not_moved_on(claim):
    held = claimed(claim, 3)
    assert services.moved_on(held) == []


def test_what_was_cancelled_or_has_ended_or_is_gone_has_moved_on(claim):
    cancelled, ended, gone, held = claimed(claim, 4)
    services.cancel(str(cancelled.job), actor="ada")
    services.record(WORKER, [completed(ended)])
    collection("jobs").delete_one({"_id": gone.job})
    assert services.moved_on([cancelled, ended, gone, held]) == [cancelled, ended, gone]


def test_what_another_worker_took_or_the_same_one_took_again_has_moved_on(claim):
    first, again = claimed(claim, 2)
    services.give_back(WORKER)
    (taken,) = (holding(job, OTHER) for job in claim(1, OTHER))
    (retaken,) = (holding(job) for job in claim(1))
    assert (taken.job, retaken.job) == (first.job, again.job)
    assert services.moved_on([first, again, taken, retaken]) == [first, again]


def test_nothing_to_ask_about_asks_nothing(monkeypatch):
    monkeypatch.setattr("jobs.repository.collection", None)
    assert services.moved_on([]) == []
