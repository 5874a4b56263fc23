"""Counts that are written with the moves: exact at every instant, whoever dies in between."""

import random
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from unittest.mock import patch

import pytest
from bson import ObjectId
from django.db import connections
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from jobs import clients, counting, counts, mongodb, repository, selectors, services
from jobs.clients import collection, mongo
from jobs.registry import Lane
from jobs.requests import Request
from jobs.states import State
from jobs.tallies import Changes, bucket, quantile
from tests.profiler import profiled
from tests.services.conftest import WORKER, in_state, requeue_dead, stored

MEDIUM = Lane("default", "medium")
HOUR = timedelta(hours=1)


def check(**expected):
    """Totals are what there is, which is what is expected; and no count is off."""
    truth = Counter(job["status"] for job in collection("jobs").find({}, {"status": 1}))
    totals = counting.totals()
    assert totals.by_status == {state: truth[state] for state in State}
    pending = collection("jobs").find({"status": "pending"})
    assert totals.pending == Counter(Lane(job["queue"], job["priority"]) for job in pending)
    assert counting.miscounted() == {}
    assert {state: jobs for state, jobs in totals.by_status.items() if jobs} == expected


def few(count, **chosen):
    return services.enqueue_many([Request(type="echo", payload={}, **chosen)] * count)


def echoes(count, **chosen):
    """As of a large call: they are counted as they are stored."""
    with patch.object(repository, "UNCOUNTED_MOST", 0):
        return few(count, **chosen)


def completed(job, ran=0.25):
    now = time.monotonic()
    return services.completion(job, started=now - ran, ended=now)


def failed(job):
    now = time.monotonic()
    return services.failure(job, error="no", started=now - 1, ended=now)


def finish(*ends):
    assert services.record(WORKER, ends) == []


def minute(count=1, **of):
    """Return the last minutes' counts in one."""
    every = selectors.minutes(count, **of)
    return (
        sum(one.accepted for one in every),
        {name: n for name, n in sum((Counter(m.outcomes) for m in every), Counter()).items() if n},
    )


# --- every move --------------------------------------------------------------------------------


def test_one_job_is_in_the_totals_at_once_and_counted_a_moment_later():
    services.enqueue("echo", {})
    check(pending=1)
    assert minute(2)[0] == 1
    assert services.count() == 1
    assert services.count() == 0
    check(pending=1)
    assert minute(2)[0] == 1


def test_what_is_about_to_be_claimed_is_left_to_its_worker(claim, monkeypatch):
    monkeypatch.setattr(services, "NEW_SECONDS", 60.0)
    services.enqueue("echo", {})
    assert services.count() == 0
    finish(*map(completed, claim()))
    check(completed=1)
    assert minute(2) == (1, {"completed": 1})


def test_of_those_that_wait_the_last_in_line_are_counted_first(monkeypatch):
    monkeypatch.setattr(services, "COUNT_BATCH", 2)
    first, *others = [services.enqueue("echo", {}) for _ in range(3)]
    assert services.count() == 2
    assert [stored(id).get("uncounted") for id in (first, *others)] == [True, None, None]
    check(pending=3)
    assert (services.count(), services.count()) == (1, 0)
    check(pending=3)


def test_many_jobs_are_counted_as_they_are_stored():
    echoes(5)
    echoes(2, delay=60)
    check(pending=5, scheduled=2)
    assert services.count() == 0
    assert minute(2)[0] == 7


def test_few_jobs_are_in_the_totals_at_once_and_counted_a_moment_later():
    few(repository.UNCOUNTED_MOST)
    check(pending=20)
    assert (minute(2)[0], services.count(), services.count()) == (20, 20, 0)
    few(repository.UNCOUNTED_MOST + 1)
    check(pending=41)
    assert (minute(2)[0], services.count()) == (41, 0)


def test_few_jobs_are_counted_with_their_ends(claim):
    few(3)
    finish(*map(completed, claim()))
    check(completed=3)
    assert minute(2) == (3, {"completed": 3})


def test_a_job_with_an_idempotency_key_is_counted_once_however_often_it_is_sent():
    for _ in range(2):
        services.accept([Request(type="echo", payload={})], key="k", scope="ada")
    check(pending=1)
    assert (services.count(), services.count()) == (1, 0)
    assert minute(2)[0] == 1


def test_a_claim_and_its_return_are_seen_at_once(claim):
    echoes(3)
    services.enqueue("echo", {})
    claim(2)
    check(pending=2, running=2)
    services.give_back(WORKER)
    check(pending=4)


@pytest.mark.parametrize("counted", [True, False], ids=["counted before", "new"])
def test_every_end_moves_its_job(claim, counted):
    for _ in range(5):
        services.enqueue("echo", {}, max_attempts=2)
    if counted:
        services.count()
    good, again, bad, lethal, _ = claim()
    finish(completed(good), failed(again), services.crash(lethal, error="boom"))
    check(completed=1, retrying=1, pending=1, running=2)
    finish(failed(replace(bad, attempt=bad.max_attempts)))
    check(completed=1, retrying=1, pending=1, running=1, dead=1)
    assert minute(2)[1] == {"completed": 1, "failed": 2, "crashed": 1}
    services.count()
    assert minute(2)[0] == 5  # one is still running


@pytest.mark.parametrize("counted", [True, False], ids=["counted before", "new"])
@pytest.mark.parametrize("state", [s for s in State if s not in ("completed", "cancelled")])
def test_a_cancelled_job_is_counted_out_of_every_state(state, counted):
    job = in_state(state)
    if counted:
        collection("jobs").update_one({"_id": job.id}, {"$unset": {"uncounted": ""}})
        services.recount()
    services.cancel(str(job.id), actor="ada")
    check(cancelled=1)
    services.requeue(str(job.id), actor="ada")
    check(pending=1)


def test_a_due_job_and_a_dead_one_come_back(claim):
    echoes(2, max_attempts=1)
    finish(*map(failed, claim()))
    echoes(1, delay=60)
    collection("jobs").update_many(
        {"status": "scheduled"}, {"$set": {"run_at": mongodb.now() - HOUR}}
    )
    assert services.promote() == 1
    check(dead=2, pending=1)
    assert requeue_dead() == 2
    check(pending=3)


def test_a_dead_workers_jobs_are_counted_where_they_go(claim):
    echoes(3)
    services.enqueue("echo", {})
    claim()
    services.reap(0)
    check(pending=4)
    assert minute(2) == (4, {"lost": 4})


def test_deleted_jobs_are_in_no_total(claim):
    echoes(3)
    finish(*map(completed, claim()))
    services.cancel(services.enqueue("echo", {}), actor="ada")
    collection("jobs").update_many({}, {"$set": {"expire_at": mongodb.now() - HOUR}})
    assert services.expire() == 4
    check()
    assert minute(2) == (4, {"completed": 3})  # what happened is not undone


def test_names_may_have_dots():
    request = Request(type="echo", payload={}, queue="a.b-c_d.e")
    services.enqueue_many([request] * 2)
    check(pending=2)
    assert counting.totals().pending == {Lane("a.b-c_d.e", "medium"): 2}
    services.count()
    assert minute(2, queue="a.b-c_d.e")[0] == 2


# --- replies that are lost, recorders that die -------------------------------------------------


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(services, "LEFT_BEHIND_SECONDS", 0.0)


@contextmanager
def lost_reply(method):
    """Have MongoDB do the next such call, and nobody hear of it."""
    owner = Database if method == "command" else Collection
    real = getattr(owner, method)
    lost = []

    def call(self, *args, **options):
        told = real(self, *args, **options)
        if not lost:
            lost.append(1)
            raise AutoReconnect("reply lost")
        return told

    with patch.object(owner, method, call):
        yield


def test_an_end_whose_reply_was_lost_counts_once(claim, at_once):
    echoes(2)
    jobs = claim()
    with lost_reply("update_many"):
        finish(*map(completed, jobs))
    check(completed=2)
    assert services.count() == 2
    check(completed=2)
    assert minute(2) == (2, {"completed": 2})


def test_an_end_that_is_written_again_counts_once(claim):
    echoes(1)
    (job,) = claim()
    end = completed(job)
    finish(end)
    finish(end)
    finish(end, end)
    check(completed=1)
    assert minute(2)[1] == {"completed": 1}


@pytest.mark.parametrize("method", ["command", "update_many", "bulk_write", "delete_one"])
def test_whatever_reply_is_lost_every_count_is_right_in_the_end(claim, at_once, method):
    services.enqueue("echo", {})
    for act in (
        lambda: echoes(3),
        services.count,
        lambda: finish(*(end(job) for job, end in zip(claim(2), [completed, failed], strict=True))),
        lambda: services.cancel(services.enqueue("echo", {}), actor="ada"),
    ):
        with lost_reply(method):
            act()
    services.count()
    check(completed=1, retrying=1, cancelled=1, pending=2)
    assert minute(2) == (5, {"completed": 1, "failed": 1})


def dying():
    """A recorder that has written its ends, and dies before it has counted them."""
    return patch.object(counting, "close_receipts", side_effect=MemoryError)


def left_behind(ends):
    with dying(), pytest.raises(MemoryError):
        services.record(WORKER, ends)


def test_ends_that_nobody_counted_are_in_the_totals_and_soon_counted(claim, at_once):
    echoes(2)
    services.enqueue("echo", {})
    left_behind([completed(job) for job in claim()])
    check(completed=3)
    assert minute(2) == (2, {})
    assert services.count() == 3
    assert services.count() == 0
    check(completed=3)
    assert minute(2) == (3, {"completed": 3})


def test_what_is_younger_is_left_to_its_recorder(claim):
    echoes(1)
    left_behind([completed(job) for job in claim()])
    assert services.count() == 0
    check(completed=1)


def test_an_owner_that_comes_back_counts_nothing_again(claim, at_once):
    """It was stopped between the ends and the count for as long as a steward waits."""
    echoes(2)
    ends = [completed(job) for job in claim()]
    counted = counting.counted

    def late(move):
        monkey.stop()
        assert services.count() == 2
        counted(move)

    monkey = patch.object(counting, "counted", late)
    monkey.start()
    finish(*ends)
    check(completed=2)
    assert minute(2)[1] == {"completed": 2}
    assert services.count() == 0


def test_a_receipt_whose_jobs_are_still_held_is_left_alone(claim, at_once):
    """Its owner may be about to write: whatever came would never be counted."""
    echoes(2)
    ends = [completed(job) for job in claim()]
    receipt = counting.open_receipt(WORKER, ends)
    assert services.count() == 0
    check(running=2)
    finish(ends[0])
    assert services.count() == 0
    finish(ends[1])
    assert services.count() == 0  # none was written with it
    assert collection("receipts").find_one({"_id": receipt})["counted_at"] is not None
    check(completed=2)


def test_ends_are_counted_though_their_receipt_is_gone(claim):
    """Only one node knew it, and a failover lost it; the ends came to the next one."""
    echoes(2)
    jobs = claim()
    opened = counting.open_receipt

    def rolled_back(worker, ends):
        receipt = opened(worker, ends)
        collection("receipts").delete_one({"_id": receipt})
        return receipt

    with patch.object(counting, "open_receipt", rolled_back):
        finish(*map(completed, jobs))
    check(completed=2)
    assert minute(2)[1] == {"completed": 2}


def test_jobs_that_moved_on_meanwhile_are_counted_where_they_were(claim, at_once):
    """Left behind, then promoted, claimed and recorded by others, all of which are counted."""
    for _ in range(3):
        services.enqueue("echo", {})
    crashed, again, good = claim()
    left_behind([services.crash(crashed, error="boom"), failed(again), completed(good)])
    check(pending=1, retrying=1, completed=1)
    collection("jobs").update_many(
        {"status": "retrying"}, {"$set": {"run_at": mongodb.now() - HOUR}}
    )
    services.promote()
    check(pending=2, completed=1)
    (first, second) = repository.claim([crashed.id, again.id], WORKER)
    check(running=2, completed=1)
    finish(completed(first))
    services.cancel(str(second.id), actor="ada")
    check(completed=2, cancelled=1)
    assert services.count() == 3
    check(completed=2, cancelled=1)
    assert minute(2) == (3, {"crashed": 1, "failed": 1, "completed": 2})


def test_a_job_is_not_deleted_before_its_end_is_counted(claim, at_once):
    echoes(2)
    left_behind([completed(job) for job in claim()])
    collection("jobs").update_many({}, {"$set": {"expire_at": mongodb.now() - HOUR}})
    assert services.expire() == 0
    services.count()
    assert services.expire() == 2
    check()


def test_of_a_group_only_what_was_accepted_is_counted(claim):
    echoes(4)
    jobs = claim()
    services.cancel(str(jobs[0].id), actor="ada")
    services.give_back(WORKER, [jobs[1]])
    refused = services.record(WORKER, [completed(job) for job in jobs])
    assert {end.id for end in refused} == {jobs[0].id, jobs[1].id}
    check(cancelled=1, pending=1, completed=2)
    assert minute(2)[1] == {"completed": 2}


def test_a_zombies_end_is_never_counted(claim, at_once):
    services.enqueue("echo", {})
    (zombie,) = claim()
    services.reap(0)
    assert services.record(WORKER, [completed(zombie)]) != []
    services.count()
    check(pending=1)
    assert minute(2) == (1, {"lost": 1})


def test_ends_of_a_version_without_receipts_lie_beside_ours(claim, at_once):
    """While a new version is rolled out, older workers record without counting."""
    echoes(2)
    jobs = claim()
    past = {"claim": 0, "outcome": "failed", "started_at": None, "ended_at": None}
    collection("jobs").update_many({}, {"$push": {"attempts": past}})
    left_behind([completed(job) for job in jobs])
    check(completed=2)
    assert services.count() == 2
    check(completed=2)


def test_what_an_older_version_moved_is_put_right_by_a_recount(claim):
    echoes(2)
    done, _ = claim()
    older = {"$set": {"status": "completed"}, "$inc": {"attempt": 1}}
    collection("jobs").update_one({"_id": done.id}, older)
    unknown = {**stored(done.id), "_id": ObjectId(), "status": "pending"}
    collection("jobs").insert_one(unknown)
    off = {(MEDIUM, "completed"): 1}  # a claimable one went, another came
    assert counting.miscounted() == off
    assert services.recount() == 1
    check(completed=1, running=1, pending=1)


def test_two_recounts_at_once_put_it_right_once():
    echoes(3)
    collection("tallies").delete_many({})
    off, corrections = counting._measured()
    assert services.recount() == 3
    counting._correct(off, corrections)
    check(pending=3)


def test_a_transaction_of_the_dead_blocks_nobody_for_long(claim):
    """MongoDB would lock what it wrote for a minute."""
    ids = echoes(2)
    echoes(1, delay=60)
    session = mongo().client.start_session()
    session.start_transaction()
    collection("jobs").update_many({}, {"$set": {"result": 1}}, session=session)
    collection("tallies").update_many({}, {"$set": {"dead": 9}}, session=session)
    assert counting.abort_abandoned(60) == 0
    time.sleep(0.01)
    assert counting.abort_abandoned(0.01) == 1
    assert len(claim(2)) == 2
    services.cancel(ids[0], actor="ada")
    check(running=1, cancelled=1, scheduled=1)


def test_one_that_was_only_slow_begins_again():
    tries = []

    def slow(session):
        tries.append(1)
        collection("counters").insert_one({"_id": "x"}, session=session)
        if len(tries) == 1:
            counting.abort_abandoned(0)
        return Changes()

    counting.counted(slow)
    assert (len(tries), collection("counters").count_documents({"_id": "x"})) == (2, 1)


# --- at the same time --------------------------------------------------------------------------


@pytest.mark.parametrize("stripes", [1, 16])
def test_writers_in_each_others_way_lose_nothing(monkeypatch, stripes):
    """All of them write, and at first create, the same few documents."""
    monkeypatch.setattr(counting, "STRIPES", stripes)
    monkeypatch.setattr(repository, "UNCOUNTED_MOST", 0)  # here, not by each of the threads
    rounds, threads = 6, 4
    barrier = threading.Barrier(threads)
    failures = []

    def work():
        worker = ObjectId()
        try:
            for _ in range(rounds):
                barrier.wait(30)
                ids = [ObjectId(id) for id in few(4)]
                jobs = repository.claim(ids, worker)
                assert services.record(worker, [completed(job) for job in jobs[:2]]) == []
                services.give_back(worker, jobs[2:])
                services.cancel(str(ids[3]), actor="ada")
                assert counting.miscounted() == {}
        except Exception as error:
            failures.append(error)
            barrier.abort()
        finally:
            connections.close_all()

    every = [threading.Thread(target=work) for _ in range(threads)]
    for thread in every:
        thread.start()
    for thread in every:
        thread.join()
    assert failures == []
    done = rounds * threads
    check(completed=2 * done, pending=done, cancelled=done)
    assert minute(5) == (4 * done, {"completed": 2 * done})


def test_totals_are_exact_while_everything_moves_and_recorders_die(monkeypatch, at_once):
    stop, failures = threading.Event(), []
    monkeypatch.setattr(repository, "UNCOUNTED_MOST", 0)
    few(20)
    close = counting.close_receipts

    def dies_now_and_then(*args):
        if random.random() < 0.3:
            raise MemoryError
        return close(*args)

    monkeypatch.setattr(counting, "close_receipts", dies_now_and_then)

    def work():
        worker, client = ObjectId(), clients.blocking_redis()
        try:
            while not stop.is_set():
                services.enqueue("echo", {})
                few(2)
                jobs = services.claim(client, ["default"], worker=worker, count=3)
                with suppress(MemoryError):
                    services.record(worker, [completed(job) for job in jobs])
                services.count()
        except Exception as error:
            failures.append(error)
        finally:
            client.close()
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    seen = []
    try:
        for _ in range(60):
            totals = counting.totals()
            seen.append(sum(totals.by_status.values()))
            assert min(totals.by_status.values()) >= 0
            assert counting.miscounted() == {}
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert seen == sorted(seen), "no job that was accepted is ever missing"
    services.count()
    total = collection("jobs").count_documents({})
    assert minute(5)[0] == total
    assert minute(5)[1]["completed"] == collection("jobs").count_documents({"status": "completed"})


# --- minutes -----------------------------------------------------------------------------------


def test_a_minute_is_of_a_type_of_a_queue_of_both_or_of_all(claim):
    echoes(2)
    echoes(1, queue="mail")
    services.enqueue_many([Request(type="urgent", payload={"to": "a"})])
    finish(*map(completed, claim(queues=["default", "mail"])))
    assert minute(2) == (4, {"completed": 4})
    assert minute(2, type="echo") == (3, {"completed": 3})
    assert minute(2, queue="mail") == (2, {"completed": 2})
    assert minute(2, queue="mail", type="echo") == (1, {"completed": 1})
    assert minute(2, queue="nobody") == minute(2, type="nobody") == (0, {})


def test_what_runs_since_it_came_was_accepted_in_its_minute(claim):
    few(2)
    few(1, queue="mail")
    services.enqueue_many([Request(type="urgent", payload={"to": "a"})])
    claim(queues=["default", "mail"])
    assert minute(2) == (4, {})
    assert minute(2, type="echo") == (3, {})
    assert minute(2, queue="mail") == (2, {})
    assert minute(2, queue="mail", type="echo") == (1, {})


def test_the_rate_of_a_queue_has_what_runs_since_it_came(claim):
    few(2)
    few(3, queue="mail")
    at = mongodb.now() - timedelta(minutes=1)
    collection("jobs").update_many({}, {"$set": {"created_at": at}})
    claim(5, queues=["default", "mail"])
    few(1)
    this_minute = {"created_at": mongodb.now() + timedelta(minutes=1)}  # however late it is
    collection("jobs").update_one({"status": "pending"}, {"$set": this_minute})
    rates = counting.rates(["default", "mail"], 5)
    assert rates == {"default": (2 / 5, 0.0), "mail": (3 / 5, 0.0)}


def test_a_minute_tells_how_long_jobs_waited_and_ran(claim):
    echoes(2)
    time.sleep(0.05)
    jobs = claim()
    now = time.monotonic()
    finish(services.completion(jobs[0], started=now, ended=now + 2), failed(jobs[1]))
    every = selectors.minutes(2)
    ran = sum((Counter(one.ran) for one in every), Counter())
    assert ran == {bucket(2000): 1, bucket(1000): 1}
    waited = sum((Counter(one.waited) for one in every), Counter())
    assert sum(waited.values()) == 2
    assert 20 < quantile(waited, 1.0) < 5000


def test_a_job_is_accepted_in_the_minute_in_which_it_came(claim):
    """One that runs for an hour is in no tally until its end."""
    services.enqueue("echo", {})
    before = mongodb.now() - HOUR
    collection("jobs").update_one({}, {"$set": {"created_at": before, "enqueued_at": before}})
    jobs = claim()
    assert (minute(30), minute(62)) == ((0, {}), (1, {}))
    finish(*map(completed, jobs))
    assert minute(30) == (0, {"completed": 1})
    assert minute(62) == (1, {"completed": 1})


def test_the_minutes_have_no_gaps_and_the_current_one_is_last():
    every = selectors.minutes(90)
    steps = {b.at - a.at for a, b in pairwise(every)}
    assert (len(every), steps) == (90, {timedelta(minutes=1)})
    assert timedelta(0) <= mongodb.now() - every[-1].at < timedelta(minutes=2)


# --- what it costs -----------------------------------------------------------------------------


def examined(ask):
    """Return how many documents and index keys MongoDB looks at for a question."""
    with profiled() as entries:
        ask()
    seen = [entry for entry in entries if "docsExamined" in entry]
    assert seen
    return sum(one["docsExamined"] + one["keysExamined"] for one in seen)


def test_counts_cost_the_same_however_many_jobs_there_are(claim):
    def fill(count):
        ids = [ObjectId(id) for id in echoes(count)]
        finish(*map(completed, repository.claim(ids[: count // 2], WORKER)))

    def ask():
        counts.forget()
        counts.stats()
        selectors.minutes(60)

    fill(20)
    few = examined(ask)
    fill(200)
    fill(200)
    assert counting.totals().by_status["completed"] == 210
    assert examined(ask) <= few + 10
