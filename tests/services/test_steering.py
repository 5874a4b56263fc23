"""What people do: requeue, cancel, pause; each leaves its line in the audit."""

from datetime import timedelta

import pytest
from bson import ObjectId

from jobs import counts, mongodb, repository, selectors, services
from jobs.clients import collection
from jobs.errors import IllegalMove, InvalidRequest, NotFound, StoreDown
from jobs.states import State
from tests.services.conftest import WORKER, in_state, stored
from workers.board import Board
from workers.worker import Place, Worker


def test_a_worker_knows_what_is_paused_before_it_asks_for_a_job():
    services.enqueue("echo", {}, queue="mail")
    services.pause("mail", actor="ada")
    worker = Worker(Place(Board(1, 1, ["mail", "new"]), 0, ObjectId(), burst=False))
    assert worker._register()
    assert worker.board.open_queues() == ["new"]


def test_a_requeued_job_keeps_what_it_is_and_starts_over(claim):
    job = in_state(State.DEAD)
    collection("jobs").update_one({"_id": job.id}, {"$set": {"attempt": 4, "crashes": 1}})
    before = stored(job.id)
    services.requeue(str(job.id), actor="ada")
    after = stored(job.id)
    assert (after["attempt"], after["crashes"], after["status"]) == (0, 0, "pending")
    assert [after[name] for name in ("type", "payload", "priority", "queue", "claim")] == [
        before[name] for name in ("type", "payload", "priority", "queue", "claim")
    ]
    assert claim()[0].id == job.id
    (entry,) = selectors.audit().entries
    assert (entry.actor, entry.action, entry.target) == ("ada", "requeue", str(job.id))


def test_a_cancelled_job_is_never_claimed_and_is_deleted_in_time(claim):
    id = services.enqueue("echo", {})
    services.cancel(id, actor="ada")
    assert claim() == []
    assert stored(id)["expire_at"] is not None


@pytest.mark.parametrize("now", [State.PENDING, State.RUNNING, State.SCHEDULED])
def test_a_job_that_has_moved_on_since_it_was_seen_is_not_cancelled(now):
    job = in_state(now)
    with pytest.raises(IllegalMove, match=f"it is {now} now"):
        services.cancel(str(job.id), actor="ada", seen=State.DEAD)
    assert stored(job.id)["status"] == now
    services.cancel(str(job.id), actor="ada", seen=now)
    assert stored(job.id)["status"] == "cancelled"


@pytest.mark.parametrize("verb", [services.requeue, services.cancel])
def test_what_does_not_exist_is_said_so(verb):
    with pytest.raises(NotFound):
        verb(str(ObjectId()), actor="ada")
    with pytest.raises(InvalidRequest):
        verb("nonsense", actor="ada")


def test_two_operators_who_requeue_the_same_job_do_it_once(claim):
    job = in_state(State.DEAD)
    services.requeue(str(job.id), actor="ada")
    with pytest.raises(IllegalMove, match="pending"):
        services.requeue(str(job.id), actor="bob")
    assert len(claim()) == 1


def test_a_queue_is_paused_by_somebody_and_resumed():
    services.enqueue("echo", {})
    services.pause("default", actor="ada")
    assert services.paused_queues() == {"default"}
    (queue,) = selectors.queues()
    assert (queue.name, queue.paused_by) == ("default", "ada")
    services.resume("default", actor="ada")
    assert services.paused_queues() == set()
    with pytest.raises(NotFound):
        services.pause("nope", actor="ada")


def test_given_back_jobs_keep_their_place_at_the_head(claim):
    ids = [services.enqueue("echo", {}) for _ in range(4)]
    claim(2)
    assert services.give_back(services.ObjectId()) == 0
    assert services.give_back(WORKER) == 2
    assert [str(job.id) for job in claim()] == ids


def test_what_is_given_back_in_parts_is_in_its_lane_also_when_mongodb_is_too_slow_for_all(
    claim, monkeypatch
):
    def two_parts(*call):
        if parts.append(call) or len(parts) > 2:
            raise StoreDown("too slow")
        return in_part(*call)

    parts, in_part = [], repository.give_back
    ids = [services.enqueue("echo", {}) for _ in range(6)]
    jobs = claim(5)
    monkeypatch.setattr(services, "GIVE_BACK_BATCH", 2)
    with monkeypatch.context() as slow:
        slow.setattr(repository, "give_back", two_parts)
        with pytest.raises(StoreDown):
            services.give_back(WORKER, jobs)
    assert [str(job.id) for job in claim(4, ObjectId())] == ids[:4]
    assert services.give_back(WORKER, jobs) == 1
    assert [str(job.id) for job in claim()] == ids[4:]


def test_due_jobs_are_promoted_to_the_end_of_their_lane(claim):
    waiting = in_state(State.RETRYING)
    collection("jobs").delete_many({"_id": {"$ne": waiting.id}})
    first = services.enqueue("echo", {})
    assert services.promote() == 1
    claimed = [str(job.id) for job in claim()]
    assert claimed[-1] == str(waiting.id) or claimed == [str(waiting.id), first]


def test_a_pause_says_why_and_ends_by_itself_by_the_clock_of_mongodb():
    services.enqueue("echo", {})
    until = mongodb.now() + timedelta(hours=1)
    services.pause("default", actor="ada", reason="deploying", until=until)
    (queue,) = selectors.queues()
    assert (queue.paused_by, queue.paused_reason) == ("ada", "deploying")
    assert abs(queue.paused_until - until) < timedelta(milliseconds=1)
    assert services.paused_queues() == {"default"}
    over = {"$set": {"paused_until": mongodb.now() - timedelta(seconds=1)}}
    collection("queues").update_one({"_id": "default"}, over)
    assert services.paused_queues() == set()
    (queue,) = selectors.queues()
    assert (queue.paused_at, queue.paused_by, queue.paused_reason, queue.paused_until) == (
        None,
    ) * 4
    assert selectors.queue("default").paused_at is None
    counts.forget()
    assert not any(lane.paused for lane in counts.stats().lanes)


def test_pausing_again_changes_who_why_and_until_when_but_not_since_when():
    services.enqueue("echo", {})
    services.pause("default", actor="ada", reason="one", until=mongodb.now() + timedelta(hours=1))
    since = selectors.queue("default").paused_at
    services.pause("default", actor="bob")
    queue = selectors.queue("default")
    assert (queue.paused_at, queue.paused_by) == (since, "bob")
    assert (queue.paused_reason, queue.paused_until) == (None, None)


def test_a_pause_that_was_over_begins_anew():
    services.enqueue("echo", {})
    # A second ago: `now` is MongoDB's time but for a round trip.
    over = mongodb.now() - timedelta(seconds=1)
    ended = {"paused_at": over - timedelta(hours=2), "paused_until": over}
    collection("queues").update_one({"_id": "default"}, {"$set": ended})
    services.pause("default", actor="bob")
    assert mongodb.now() - selectors.queue("default").paused_at < timedelta(minutes=1)


def test_a_pause_cannot_end_before_it_begins():
    services.enqueue("echo", {})
    with pytest.raises(InvalidRequest, match="over"):
        services.pause("default", actor="ada", until=mongodb.now())
    assert services.paused_queues() == set()
    assert selectors.audit().entries == []
