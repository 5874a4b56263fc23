import pytest
from bson import ObjectId
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from jobs import clients, lanes, repository, services
from jobs.claims import Hint
from jobs.clients import mongo
from jobs.errors import StoreDown
from jobs.registry import Lane
from jobs.requests import Request
from tests.profiler import profiled
from tests.services.conftest import WORKER, stored
from workers.unheard import Unheard


def ids(jobs):
    return [str(job.id) for job in jobs]


def test_jobs_are_taken_in_strict_priority_and_in_order(claim):
    low, high, medium = (
        [services.enqueue("echo", {}, priority=priority) for _ in range(3)]
        for priority in ("low", "high", "medium")
    )
    assert ids(claim(4)) == [*high, medium[0]]
    assert ids(claim(10)) == [*medium[1:], *low]


def test_a_claim_is_numbered_and_names_its_worker(claim):
    id = services.enqueue("urgent", {"to": "a"})
    (job,) = claim(queues=["mail"])
    assert (job.claim, job.attempt, job.max_attempts) == (1, 1, 2)
    assert stored(id)["worker"] == WORKER
    assert stored(id)["started_at"] is not None


def test_of_two_workers_with_the_same_hint_one_gets_the_job(claim):
    services.enqueue("echo", {})
    (job,) = claim()
    lanes.push([Hint(job.id, job.lane)] * 3)
    assert claim(worker=ObjectId()) == []
    assert claim() == []
    assert stored(job.id)["claim"] == 1


def test_hints_of_nothing_are_thrown_away(claim):
    lanes.push([Hint(ObjectId(), Lane("default", "high"))])
    id = services.enqueue("echo", {})
    assert ids(claim()) == [id]


@pytest.mark.parametrize("empty", [False, True])
def test_bytes_that_are_no_text_are_thrown_away(redis_client, empty):
    lane = Lane("default", "medium")
    clients.redis().lpush(lanes.key(lane), *[b"\xff\xfe"] * 2)
    id = services.enqueue("echo", {})
    assert lanes.head(lane, 10) == [ObjectId(id)]
    assert list(lanes.ids(lane)) == [[ObjectId(id).binary]]
    assert lanes.fetch(redis_client, [lane], 10, empty=empty) == [ObjectId(id)]


def test_only_the_asked_queues_are_served(claim):
    services.enqueue("echo", {}, queue="other")
    id = services.enqueue("echo", {})
    assert ids(claim()) == [id]


def test_a_claim_whose_reply_was_lost_takes_nothing_twice(claim, monkeypatch):
    services.enqueue("echo", {})
    (job,) = claim()
    services.give_back(WORKER)
    batch = ObjectId()
    monkeypatch.setattr(repository, "ObjectId", lambda: batch)
    for _ in range(2):  # the same write twice, as after a lost reply
        repository._claim_once(repository.collection("jobs"), [job.id], WORKER, batch)
    assert stored(job.id)["claim"] == 2


def lose_replies(monkeypatch, times):
    """Have the reads of claimed jobs fail that often."""
    find, left = Collection.find, [times]

    def lost_reply(self, *args, **options):
        left[0] -= 1
        if left[0] >= 0:
            raise AutoReconnect("reply lost")
        return find(self, *args, **options)

    monkeypatch.setattr(Collection, "find", lost_reply)


def test_a_claim_whose_read_failed_is_read_again_under_the_same_token(claim, monkeypatch):
    id = services.enqueue("echo", {})
    lose_replies(monkeypatch, 1)
    (job,) = claim()
    assert (str(job.id), job.claim) == (id, 1)


def test_what_an_unheard_claim_took_is_given_back_by_its_worker(redis_client, claim, monkeypatch):
    id, unheard, batch = services.enqueue("echo", {}), Unheard(WORKER), ObjectId()
    lose_replies(monkeypatch, 2)
    # The first read of a claim of one is part of its write.
    monkeypatch.setattr(
        repository,
        "_claim_one",
        lambda jobs, id, *token: repository._claim_once(jobs, [id], *token),
    )
    with pytest.raises(StoreDown):
        services.claim(redis_client, ["default"], worker=WORKER, count=1, batch=batch)
    assert stored(id)["status"] == "running"
    unheard.add(batch)
    assert unheard.give_back()  # a late claim may still arrive
    assert stored(id)["status"] == "pending"
    assert ids(claim()) == [id]


def test_what_unheard_claims_took_is_given_back_in_parts_and_a_failure_is_said(
    redis_client, claim, monkeypatch
):
    def one_part(*call):
        if parts.append(call) or len(parts) > 1:
            raise StoreDown("too slow")
        return in_part(*call)

    parts, in_part = [], repository.give_back_batches
    unheard, batch = Unheard(WORKER), ObjectId()
    services.enqueue_many([Request(type="echo", payload={}) for _ in range(3)])
    services.claim(redis_client, ["default"], worker=WORKER, count=3, batch=batch)
    unheard.add(batch)
    monkeypatch.setattr(services, "GIVE_BACK_BATCH", 2)
    with capture_logs() as lines, monkeypatch.context() as slow:
        slow.setattr(repository, "give_back_batches", one_part)
        assert unheard.give_back()
    assert [line["event"] for line in lines] == ["give_back.waiting"]
    assert len(claim(3, ObjectId())) == 2
    unheard._look_at = 0.0
    assert unheard.give_back()
    assert len(claim()) == 1


def test_who_slept_takes_what_came_together_in_its_order(redis_client):
    ids = services.enqueue_many([Request(type="echo", payload={}) for _ in range(4)])

    def take(count):
        return services.claim(redis_client, ["default"], worker=WORKER, count=count, empty=True)

    assert [str(job.id) for job in take(1)] == ids[:1]
    assert [str(job.id) for job in take(10)] == ids[1:]
    assert take(10) == []


def test_what_was_taken_is_in_hand_though_redis_fails_to_give_more(redis_client, monkeypatch):
    def fail(*_, **__):
        raise RedisError

    ids = services.enqueue_many([Request(type="echo", payload={}) for _ in range(2)])
    monkeypatch.setattr(lanes, "Script", lambda *_: fail)
    (job,) = services.claim(
        redis_client, ["default"], worker=WORKER, count=10, batch=None, empty=True
    )
    assert str(job.id) == ids[0]


def test_claims_and_their_ends_are_found_by_id_without_trying_other_indexes(claim):
    services.enqueue_many([Request(type="echo", payload={})] * 5)
    with profiled() as entries:
        held = claim(5)
        ends = [services.completion(job, started=0.0, ended=1.0, result=None) for job in held]
        assert services.record(WORKER, ends) == []
    steps = [entry for entry in entries if entry["ns"] == f"{mongo().name}.jobs"]
    assert len(steps) == 3  # the claim, the look at it, the end
    assert {step["planSummary"] for step in steps} == {"IXSCAN { _id: 1 }"}
    assert not any(step.get("fromMultiPlanner") for step in steps)
