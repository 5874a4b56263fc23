import time
from dataclasses import replace

import pytest
from bson import ObjectId
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect

from jobs import counting, counts, selectors, services
from jobs.clients import collection
from jobs.errors import Unstorable
from jobs.requests import Request
from jobs.states import State
from tests.services.conftest import WORKER, in_state, stored
from workers.recorder import Recorder


def finished(job, **result):
    now = time.monotonic()
    return services.completion(job, started=now - 1.5, ended=now, **result)


def failed(job, **details):
    now = time.monotonic()
    details = {"error": "no", "error_type": "ValueError", "traceback": "Traceback …", **details}
    return services.failure(job, started=now - 0.5, ended=now, **details)


def test_a_group_of_different_ends_is_one_write(claim):
    for _ in range(3):
        services.enqueue("echo", {})
    good, bad, lethal = claim()
    ends = [finished(good, result={"n": 1}), failed(bad), services.crash(lethal, error="boom")]
    assert services.record(WORKER, ends) == []
    assert stored(good.id)["result"] == {"n": 1}
    assert stored(good.id)["expire_at"] > stored(good.id)["finished_at"]
    assert stored(bad.id)["status"] == "retrying"
    assert (stored(lethal.id)["status"], stored(lethal.id)["crashes"]) == ("pending", 1)
    assert stored(lethal.id)["attempt"] == 0


def test_an_attempt_tells_when_by_whom_and_how(claim):
    id = services.enqueue("echo", {})
    services.record(WORKER, [failed(claim()[0])])
    (attempt,) = stored(id)["attempts"]
    assert (attempt["attempt"], attempt["claim"], attempt["worker"]) == (1, 1, WORKER)
    assert (attempt["outcome"], attempt["error_type"]) == ("failed", "ValueError")
    seconds = (attempt["ended_at"] - attempt["started_at"]).total_seconds()
    assert abs(seconds - 0.5) < 0.01
    waits = (stored(id)["run_at"] - attempt["ended_at"]).total_seconds()
    assert 2 <= waits <= 2.3


def test_the_last_attempt_leads_to_the_dead_letters(claim):
    id = services.enqueue("echo", {}, max_attempts=1)
    services.record(WORKER, [failed(claim()[0])])
    dead = stored(id)
    assert (dead["status"], dead["error"], dead["expire_at"]) == ("dead", "no", None)
    assert dead["finished_at"] is not None


def test_a_job_types_own_backoff_counts(claim):
    id = services.enqueue("urgent", {"to": "a"})
    services.record(WORKER, [failed(claim(queues=["mail"])[0])])
    wait = stored(id)["run_at"] - stored(id)["attempts"][0]["ended_at"]
    assert 1 <= wait.total_seconds() <= 1.2


def test_three_crashes_are_enough():
    job = in_state(State.RUNNING)
    last = services.crash(replace(job, crashes=2), error="boom")
    assert last.status is State.DEAD
    assert services.crash(replace(job, crashes=1), error="boom").status is State.PENDING


def test_the_same_end_written_twice_counts_once(claim):
    id = services.enqueue("echo", {})
    end = finished(claim()[0], result=1)
    assert services.record(WORKER, [end]) == []
    assert services.record(WORKER, [end]) == []
    assert len(stored(id)["attempts"]) == 1


def test_a_zombies_end_is_refused_and_the_truth_stays(claim):
    id = services.enqueue("echo", {})
    (zombie,) = claim()
    services.give_back(WORKER)
    (second,) = claim(worker=ObjectId())
    before = stored(id)
    refused = services.record(WORKER, [finished(zombie, result="stale")])
    assert [end.claim for end in refused] == [1]
    assert stored(id) == before
    assert second.claim == 2


def test_an_old_claim_of_the_same_worker_is_a_zombie_too(claim):
    id = services.enqueue("echo", {})
    (first,) = claim()
    services.give_back(WORKER)
    (second,) = claim()
    ends = [finished(first, result="stale"), finished(second, result="true")]
    refused = services.record(WORKER, [ends[0]])
    assert [end.claim for end in refused] == [1]
    assert services.record(WORKER, [ends[1]]) == []
    assert stored(id)["result"] == "true"


def test_the_end_of_a_cancelled_job_is_refused(claim):
    id = services.enqueue("echo", {})
    (job,) = claim()
    services.cancel(id, actor="test")
    assert len(services.record(WORKER, [finished(job)])) == 1
    assert stored(id)["status"] == "cancelled"


def test_results_with_hostile_names_are_kept_as_they_are(claim):
    value = {"$set": {"status": "dead"}, "a.b": ["$$NOW", "$status"], "": None}
    id = services.enqueue("echo", {})
    services.record(WORKER, [finished(claim()[0], result=value)])
    assert stored(id)["result"] == value


def test_the_history_keeps_the_newest_attempts(monkeypatch):
    from jobs import repository

    monkeypatch.setattr(repository, "KEPT_ATTEMPTS", 2)
    job = in_state(State.RUNNING)
    for claim in (3, 4, 5):
        end = services.crash(replace(job, claim=claim), error=str(claim))
        services.record(WORKER, [end])
        repository.claim([job.id], WORKER)
    assert [attempt["claim"] for attempt in stored(job.id)["attempts"]] == [4, 5]


def test_an_end_under_a_claim_that_was_taken_for_lost_is_refused_and_counted(claim):
    id = services.enqueue("echo", {})
    (job,) = claim()
    services.reap(0)
    zombie = finished(job, result="late")
    assert services.record(WORKER, [zombie]) == [zombie]
    assert (stored(id)["status"], stored(id)["result"]) == ("pending", None)
    assert selectors.refused_ends() == 1


def test_giving_back_an_old_claim_does_not_touch_the_new_one(claim):
    services.enqueue("echo", {})
    (old,) = claim()
    services.give_back(WORKER, [old])
    (new,) = claim()
    assert services.give_back(WORKER, [old]) == 0
    assert stored(new.id)["status"] == "running"
    assert services.give_back(WORKER, [new]) == 1


def test_what_a_lost_reply_had_moved_is_known_by_its_token(claim, monkeypatch):
    services.enqueue("echo", {})
    (job,) = claim()
    update_many = Collection.update_many

    def lost_reply(self, *args, **options):
        monkeypatch.setattr(Collection, "update_many", update_many)
        update_many(self, *args, **options)
        raise AutoReconnect("reply lost")

    monkeypatch.setattr(Collection, "update_many", lost_reply)
    assert services.give_back(WORKER, [job]) == 1
    assert stored(job.id)["status"] == "pending"


def test_what_mongodb_can_never_hold_is_told_from_an_outage(claim, settings):
    id = services.enqueue("echo", {})
    (job,) = claim()
    with pytest.raises(Unstorable, match="MongoDB cannot hold it"):
        services.record(WORKER, [finished(job, result="x" * 17_000_000)])
    assert stored(id)["status"] == "running"


def test_the_recorder_drops_a_result_that_cannot_be_held_and_the_job_is_completed(claim):
    ids = [services.enqueue("echo", {}) for _ in range(2)]
    huge, fine = claim()
    recorder = Recorder(WORKER, lambda: False)
    recorder.start()
    recorder.add(finished(huge, result="x" * 17_000_000), flush=False)
    recorder.add(finished(fine, result="kept"), flush=True)
    recorder.close()
    assert [stored(id)["status"] for id in ids] == ["completed", "completed"]
    assert "cannot hold it" in stored(huge.id)["result_error"]
    assert stored(fine.id)["result"] == "kept"


def test_ends_are_counted_amid_a_backlog_of_them(claim, monkeypatch):
    monkeypatch.setattr("workers.recorder.GROUP", 2)
    left = []  # receipts, whenever a group is about to be written
    open_receipt = counting.open_receipt

    def opened(*arguments):
        left.append(collection("receipts").count_documents({}))
        return open_receipt(*arguments)

    monkeypatch.setattr(counting, "open_receipt", opened)
    services.enqueue_many([Request(type="echo", payload={})] * 10)
    recorder = Recorder(WORKER, lambda: False)
    for job in claim():
        recorder.add(finished(job), flush=False)
    recorder.start()
    recorder.close()
    assert left == [0] * 5
    assert counts.stats().by_status["completed"] == 10


def test_the_totals_see_ends_that_are_not_counted_yet(claim):
    services.enqueue_many([Request(type="echo", payload={})] * 3)
    services.enqueue("echo", {})  # alone, so it is in no total before its end
    good, bad, again, new = claim()
    uncounted = []
    ends = [finished(good), failed(bad), services.crash(again, error="boom"), finished(new)]
    services.record(WORKER, ends, uncounted)
    seen = counts.stats().by_status
    services.count_ends(uncounted)
    counts.forget()
    assert seen == counts.stats().by_status
    assert (seen["completed"], seen["retrying"], seen["pending"]) == (2, 1, 1)


def test_an_end_that_others_may_follow_is_written_without_them(claim, until):
    id = services.enqueue("echo", {})
    recorder = Recorder(WORKER, lambda: False)
    recorder.start()
    recorder.add(finished(claim()[0]), flush=False)
    until(lambda: stored(id)["status"] == "completed")
    recorder.close()


def test_who_closes_it_while_it_writes_has_the_rest_looked_after(claim, monkeypatch):
    looked, services_record = [], services.record
    services.enqueue("echo", {})
    recorder = Recorder(WORKER, lambda: bool(looked.append(recorder._closing)))

    def record(*arguments):
        recorder._closing = True
        return services_record(*arguments)

    monkeypatch.setattr(services, "record", record)
    recorder.start()
    recorder.add(finished(claim()[0]), flush=True)
    recorder.join(30)
    assert not recorder.is_alive()
    assert looked[-1]
