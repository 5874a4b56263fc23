"""Bulk operations: only what was previewed, as it was previewed, exactly once."""

import threading
import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from django.core import signing
from pymongo.errors import AutoReconnect

from jobs import counting, operations, selectors, services
from jobs.clients import collection
from jobs.errors import IdempotencyConflict, IllegalMove, InvalidRequest, NotFound
from jobs.models import AuditEntry, Operation
from jobs.selectors import JobFilter
from jobs.states import ALLOWED, State
from tests.services.conftest import WORKER, in_state, stored

DEAD = JobFilter(status="dead")


@pytest.fixture(autouse=True)
def _database(django_db_blocker: Any) -> Any:
    with django_db_blocker.unblock():
        yield


def previewed(action: Any = "requeue", chosen: JobFilter = DEAD, actor: str = "ada") -> str:
    return services.preview(action, chosen, actor=actor).token


def started(token: str, actor: str = "ada", key: str | None = None) -> services.Started:
    return services.start_operation(services.read_token(token, actor=actor), actor=actor, key=key)


def done(token: str) -> Operation:
    """Run the operation of a token to its end."""
    id = started(token).id
    while services.operate():
        pass
    return selectors.operation(id)


def dead(number: int) -> list[str]:
    return [str(in_state(State.DEAD).id) for _ in range(number)]


@pytest.mark.parametrize("action", list(ALLOWED))
@pytest.mark.parametrize("status", list(State))
def test_each_action_moves_what_may_be_moved_and_leaves_the_rest(
    action: Any, status: State
) -> None:
    job = in_state(status)
    counting.correct()  # the state was written past the counts
    operation = done(previewed(action, JobFilter()))
    may = status in ALLOWED[action]
    assert (operation.total, operation.done, operation.skipped) == (may, may, 0)
    after = {"requeue": "pending", "cancel": "cancelled"}.get(action) if may else status.value
    found = collection("jobs").find_one({"_id": job.id})
    assert (found and found["status"]) == after
    assert counting.miscounted() == {}


def test_what_arrives_or_dies_after_the_preview_is_not_touched() -> None:
    frozen = dead(3)
    token = previewed()
    late = dead(2)
    operation = done(token)
    assert (operation.state, operation.done) == ("completed", 3)
    assert {stored(ObjectId(id))["status"] for id in frozen} == {"pending"}
    assert {stored(ObjectId(id))["status"] for id in late} == {"dead"}


def test_a_job_created_before_the_preview_but_dead_only_after_it_is_not_touched() -> None:
    running = in_state(State.RUNNING)
    (frozen,) = dead(1)
    token = previewed()
    # Its end says that it ended long before the preview: a worker that was cut off writes it late.
    long_ago = services.mongodb.now() - timedelta(minutes=5)
    collection("jobs").update_one(
        {"_id": running.id}, {"$set": {"status": "dead", "finished_at": long_ago}}
    )
    assert done(token).done == 1
    assert stored(running.id)["status"] == "dead"
    assert stored(ObjectId(frozen))["status"] == "pending"


def test_a_job_that_was_requeued_and_died_again_is_not_touched(claim: Any) -> None:
    (id,) = dead(1)
    token = previewed()
    services.requeue(id, actor="bob")
    (job,) = claim()
    collection("jobs").update_one({"_id": job.id}, {"$set": {"status": "dead"}})
    operation = done(token)
    assert (operation.done, operation.skipped) == (0, 1)
    assert stored(job.id)["status"] == "dead"


def test_a_job_that_was_cancelled_and_requeued_is_not_cancelled_again() -> None:
    job = in_state(State.PENDING)
    token = previewed("cancel", JobFilter(status="pending"))
    services.cancel(str(job.id), actor="bob")
    services.requeue(str(job.id), actor="bob")
    assert done(token).skipped == 1
    assert stored(job.id)["status"] == "pending"


def test_the_preview_tells_how_many_and_shows_the_newest_and_changes_nothing() -> None:
    ids = dead(12)
    in_state(State.CANCELLED)
    frozen = services.preview("requeue", JobFilter(), actor="ada")
    assert (frozen.count, frozen.by_status) == (13, {"dead": 12, "cancelled": 1})
    assert len(frozen.sample) == operations.SAMPLE
    assert str(frozen.sample[1].id) == ids[-1]
    assert {stored(ObjectId(id))["status"] for id in ids} == {"dead"}
    assert AuditEntry.objects.count() == 0
    with pytest.raises(NotFound):
        selectors.operation(str(operations.collection("operations").find_one()["_id"]))


def test_the_queues_that_somebody_may_see_narrow_what_is_frozen() -> None:
    dead(2)
    mail = in_state(State.DEAD)
    collection("jobs").update_one({"_id": mail.id}, {"$set": {"queue": "mail"}})
    frozen = services.preview("requeue", DEAD, actor="ada", queues=["mail"])
    assert (frozen.count, frozen.sample[0].id) == (1, mail.id)


def test_a_filter_that_the_action_can_never_meet_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="status: To requeue"):
        previewed("requeue", JobFilter(status="completed"))


def test_a_preview_of_many_jobs_takes_little_memory() -> None:
    now, many = services.mongodb.now(), 5_000
    one = {"status": "dead", "type": "echo", "claim": 1, "enqueued_at": now, "finished_at": now}
    collection("jobs").insert_many([{**one, "_id": ObjectId()} for _ in range(many)])
    previewed()  # what it loads once
    tracemalloc.start()
    try:
        frozen = services.preview("requeue", DEAD, actor="ada")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (frozen.count, frozen.by_type) == (many, {"echo": many})
    assert peak < 500 * many


def test_more_than_can_be_frozen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "FROZEN_MOST", 2)
    dead(3)
    with pytest.raises(InvalidRequest, match="More than 2 jobs match"):
        previewed()


@pytest.mark.parametrize("salt", ["operation", "x"])
def test_a_token_that_is_altered_forged_or_anothers_is_refused(salt: str) -> None:
    dead(1)
    token = previewed()
    forged = signing.dumps({"operation": str(ObjectId()), "actor": "ada"}, salt=salt)
    for bad in ("", "x", token[:-1], token.replace(":", ";", 1), forged):
        with pytest.raises(InvalidRequest, match="token"):
            started(bad)
    with pytest.raises(InvalidRequest, match="another's"):
        started(token, actor="bob")
    assert services.operate() == 0


def test_a_token_is_good_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    dead(1)
    token = previewed()
    monkeypatch.setattr(operations, "PREVIEW_KEPT", timedelta(0))
    with pytest.raises(InvalidRequest, match="over an hour old"):
        started(token)


def test_a_replayed_token_answers_the_same_operation_and_does_nothing_more() -> None:
    dead(2)
    token = previewed()
    first = done(token)
    again = started(token)
    assert again == services.Started(str(first.id), replayed=True)
    assert services.operate() == 0
    assert AuditEntry.objects.filter(action="operation_start").count() == 1


def test_a_key_names_one_operation_and_no_other_request() -> None:
    dead(1)
    first, second = previewed(), previewed()
    id = started(first, key="k").id
    assert started(first, key="k") == services.Started(id, replayed=True)
    with pytest.raises(IdempotencyConflict):
        started(second, key="k")
    assert operations.running() == [ObjectId(id)]
    services.accept([services.Request(type="echo", payload={})], key="j", scope="ada")
    with pytest.raises(IdempotencyConflict):
        started(second, key="j")
    assert not started(second, key="l").replayed


def test_an_operation_stops_after_its_batch_and_goes_on_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(operations, "BATCH", 2)
    dead(5)
    id = started(previewed()).id
    assert services.operate() == 2
    services.stop_operation(id, actor="bob")
    assert services.operate() == 0
    stopped = selectors.operation(id)
    assert (stopped.state, stopped.done) == ("stopped", 2)
    with pytest.raises(IllegalMove):
        services.stop_operation(id, actor="bob")
    services.resume_operation(id, actor="bob")
    assert [services.operate() for _ in range(3)] == [2, 1, 0]
    assert selectors.operation(id).state == "completed"
    assert selectors.operation(id).done == 5
    with pytest.raises(IllegalMove, match="completed"):
        services.resume_operation(id, actor="bob")
    actions = [entry.action for entry in AuditEntry.objects.order_by("id")]
    assert actions == [f"operation_{what}" for what in ("start", "stop", "resume", "complete")]
    assert collection("frozen_batches").count_documents({}) == 0


def test_a_batch_of_jobs_that_moved_on_is_work_done_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the steward would take a pause, as if there were nothing to do."""
    monkeypatch.setattr(operations, "BATCH", 2)
    moved_on, still_dead = dead(2), dead(2)
    id = started(previewed()).id
    for each in moved_on:
        services.requeue(each, actor="bob")
    services.operate_at_once(id)
    ended = selectors.operation(id)
    assert (ended.state, ended.done, ended.skipped) == ("completed", 2, 2)
    assert {stored(ObjectId(each))["status"] for each in still_dead} == {"pending"}


def test_stewards_who_work_at_once_move_each_job_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "BATCH", 3)
    dead(30)
    id = started(previewed()).id

    def work() -> None:
        while services.operate():
            pass

    stewards = [threading.Thread(target=work) for _ in range(4)]
    for steward in stewards:
        steward.start()
    for steward in stewards:
        steward.join()
    ended = selectors.operation(id)
    assert (ended.state, ended.done, ended.skipped, ended.position) == ("completed", 30, 0, 10)
    assert AuditEntry.objects.filter(action="operation_complete").count() == 1
    assert {job["claim"] for job in collection("jobs").find()} == {
        job["claim"] for job in collection("jobs").find({"status": "pending"})
    }


def test_a_batch_whose_reply_is_lost_is_not_done_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "BATCH", 2)
    dead(4)
    id = started(previewed()).id
    counted, lost = counting.counted, iter([True])

    def lose(move: Any) -> None:
        counted(move)
        if next(lost, False):
            raise AutoReconnect("the reply was lost")

    monkeypatch.setattr(counting, "counted", lose)
    while services.operate():
        pass
    assert (selectors.operation(id).done, selectors.operation(id).skipped) == (4, 0)


def test_an_operation_whose_frozen_set_is_gone_fails_and_says_so() -> None:
    dead(1)
    id = started(previewed()).id
    collection("frozen_batches").delete_many({})
    assert services.operate() == 0
    failed = selectors.operation(id)
    assert failed.state == "failed"
    assert "preview again" in (failed.error or "")
    assert AuditEntry.objects.filter(action="operation_fail").count() == 1


def test_deleted_jobs_are_counted_out() -> None:
    services.cancel(services.enqueue("echo", {}), actor="ada")
    services.count()
    assert counting.totals().by_status["cancelled"] == 1
    assert done(previewed("delete", JobFilter(status="cancelled"))).done == 1
    assert counting.totals().by_status["cancelled"] == 0
    assert counting.miscounted() == {}


def test_one_job_is_deleted_only_once_it_has_ended_and_its_end_is_counted(
    monkeypatch: pytest.MonkeyPatch, claim: Any
) -> None:
    monkeypatch.setattr(services, "COUNTED_SECONDS", 0.0)
    id = services.enqueue("echo", {})
    with pytest.raises(IllegalMove, match="pending"):
        services.delete(id, actor="ada")
    (job,) = claim()
    uncounted: list[Any] = []
    services.record(WORKER, [services.completion(job, started=1.0, ended=1.0)], uncounted)
    with pytest.raises(IllegalMove, match="being counted"):
        services.delete(id, actor="ada")
    services.count_ends(uncounted)
    services.delete(id, actor="ada")
    assert counting.miscounted() == {}
    with pytest.raises(NotFound):
        services.delete(id, actor="ada")
