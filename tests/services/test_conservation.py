"""Each violation is made by hand and must be found; a healthy system, however busy, is clean."""

import threading
import time
from datetime import timedelta

import pytest
from bson import ObjectId

from jobs import clients, conservation, counting, counts, lanes, mongodb, repository, services
from jobs.claims import Hint
from jobs.clients import collection
from jobs.registry import Lane
from jobs.states import State
from tests.services.conftest import WORKER, requeue_dead, stored
from tests.services.test_reap import register

MEDIUM = Lane("default", "medium")
HIGH = Lane("default", "high")


@pytest.fixture
def quick(monkeypatch, settings):
    """Read again at once: in these tests nothing else is going on."""
    monkeypatch.setattr(conservation, "PAUSES", (0.0,) * 3)
    monkeypatch.setattr(conservation, "REPAIR_PAUSES", (0.0,) * 3)
    settings.WORKER_HEARTBEAT_SECONDS = 0


@pytest.fixture
def world(claim, quick):
    """Jobs in all seven states, all of which came there by themselves, by their state."""
    register()
    ids = {
        State.COMPLETED: ended(claim, services.completion),
        State.RETRYING: ended(claim, services.failure),
        State.DEAD: ended(claim, services.failure, max_attempts=1),
        State.RUNNING: services.enqueue("echo", {}),
    }
    claim()
    ids[State.CANCELLED] = services.enqueue("echo", {})
    services.cancel(ids[State.CANCELLED], actor="ada")
    ids[State.SCHEDULED] = services.enqueue("echo", {}, delay=60)
    ids[State.PENDING] = services.enqueue("echo", {})
    assert {state: stored(id)["status"] for state, id in ids.items()} == {s: s for s in State}
    return ids


def ended(claim, end, **chosen):
    id = services.enqueue("echo", {}, **chosen)
    (job,) = claim()
    record(job, end)
    return id


def record(job, end):
    times = (
        {} if end is services.crash else {"started": time.monotonic(), "ended": time.monotonic()}
    )
    assert services.record(WORKER, [end(job, **times)]) == []


def change(id, **changes):
    collection("jobs").update_one({"_id": ObjectId(id)}, {"$set": changes})


def ago(**time):
    return mongodb.now() - timedelta(**time)


def faults(check):
    """What a check found: how many of what, and which."""
    return [(finding.count, finding.says, finding.examples) for finding in check.faults]


# --- a healthy system --------------------------------------------------------------------------


def test_jobs_in_all_seven_states_are_where_they_should_be(world):
    report = conservation.examine()
    assert [faults(check) for check in report.checks] == [[]] * 5
    assert [check.waiting for check in report.checks] == [0] * 5
    assert [check.examined for check in report.checks] == [7, 1, 1, 2, 3 * 6]
    assert report.hints == conservation.Hints(
        read=2, stale=1, doubled=0, misplaced=0
    )  # stale: the cancelled


def test_nothing_is_wrong_where_nothing_was_ever_submitted(quick):
    assert conservation.examine().wrong == 0


def test_whatever_happens_to_a_job_its_fields_agree(claim, quick):
    """Retried, crashed, given back, requeued, dead of crashes, cancelled while it runs."""
    register()
    for end in (services.failure, services.crash):
        id = services.enqueue("echo", {}, max_attempts=2)
        for _ in range(2):  # two lives
            while stored(id)["status"] != State.DEAD:
                collection("jobs").update_many(
                    {"status": State.RETRYING}, {"$set": {"run_at": ago(seconds=1)}}
                )
                services.promote()
                assert conservation.examine().fields.wrong == 0
                repository.claim([ObjectId(id)], WORKER)
                services.give_back(WORKER)
                (job,) = repository.claim([ObjectId(id)], WORKER)
                assert conservation.examine().fields.wrong == 0
                record(job, end)
            assert conservation.examine().fields.wrong == 0
            services.requeue(id, actor="ada")
        repository.claim([ObjectId(id)], WORKER)
        services.cancel(id, actor="ada")
        assert conservation.examine().fields.wrong == 0


def test_a_job_with_more_attempts_than_are_kept_is_no_violation(world, monkeypatch):
    monkeypatch.setattr(conservation, "KEPT_ATTEMPTS", 1)
    change(world[State.RETRYING], attempt=3)
    assert conservation.examine().fields.wrong == 0


def test_a_busy_system_has_no_violation(claim, redis_client):
    """Everything moves while it is read: all verbs, a steward's too, from two threads."""
    register()
    for _ in range(300):
        services.enqueue("echo", {})
    stop, failed = threading.Event(), []

    def churn():
        try:
            client = clients.blocking_redis()
            while not stop.is_set():
                turn(client)
            client.close()
        except Exception as error:
            failed.append(error)

    def turn(client):
        ids = [services.enqueue("echo", {}, max_attempts=1, delay=d) for d in (0, 0, 0, 0.01)]
        services.cancel(ids[0], actor="ada")
        jobs = services.claim(client, ["default"], worker=WORKER, count=4)
        ends = (services.completion, services.failure, services.crash)
        for job, end in zip(jobs, ends, strict=False):
            services.record(WORKER, [end(job, started=time.monotonic(), ended=time.monotonic())])
            if end is services.crash:
                lanes.push_at_head(repository.hints([job.id]))
        services.give_back(WORKER, jobs[3:])
        requeue_dead()
        services.requeue(ids[0], actor="ada")
        services.promote()
        services.repair("default")
        services.heartbeat([WORKER])

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        reports = [conservation.examine() for _ in range(8)]
        off = [counting.miscounted() for _ in range(100)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert [places for places in off if places] == []
    assert [faults(check) for report in reports for check in report.checks] == [[]] * 40
    claims = collection("jobs").find({}, {"claim": 1})
    assert sum(job["claim"] for job in claims) > 20  # it was busy


# --- 1: fields ---------------------------------------------------------------------------------

ENTRY = {"claim": 1, "outcome": "failed"}
VIOLATIONS = [
    (State.PENDING, {"status": "lost"}, conservation.UNKNOWN),
    (State.PENDING, {"priority": "urgent"}, "The priority is"),
    (State.PENDING, {"enqueued_at": None}, "enqueued_at is a time"),
    (State.RETRYING, {"run_at": None}, "A job that waits for a time"),
    (State.PENDING, {"run_at": ago}, "run_at is empty"),
    (State.CANCELLED, {"finished_at": None}, "A job that ended says when"),
    (State.PENDING, {"finished_at": ago}, "finished_at is empty"),
    (State.COMPLETED, {"expire_at": None}, "A completed or cancelled job"),
    (State.DEAD, {"expire_at": timedelta(days=1)}, "expire_at is empty"),
    (State.RUNNING, {"worker": None}, "A job that was ever claimed"),
    (State.RUNNING, {"started_at": None}, "A running job has a worker"),
    (State.SCHEDULED, {"attempt": 1}, "A scheduled job has never run"),
    (State.DEAD, {"attempt": 5}, "No more attempts"),
    (State.PENDING, {"attempt": 4}, "A job that may run has an attempt left"),
    (State.RETRYING, {"attempt": 0}, "A retrying job has used up"),
    (State.PENDING, {"crashes": 3}, "A job that may run has crashed less"),
    (State.RUNNING, {"attempt": 1}, "Every attempt that is used up"),
    (State.RUNNING, {"crashes": 1}, "Every crash that is charged"),
    (State.DEAD, {"attempts": [ENTRY, ENTRY]}, "No two ends were accepted"),
    (State.DEAD, {"attempts": [{**ENTRY, "claim": 2}]}, "No two ends were accepted"),
    (State.RUNNING, {"attempts": [ENTRY]}, "No end was accepted under the claim"),
    (State.DEAD, {"claim": 2}, "A job that its worker left"),
    (State.COMPLETED, {"attempt": 0, "attempts.0.outcome": "failed"}, "A completed job ended well"),
    (State.DEAD, {"attempts.0.outcome": "completed"}, "A job that ended well once"),
    (State.DEAD, {"max_attempts": 2}, "A dead job has no attempt left"),
]


def test_a_job_whose_fields_do_not_agree_is_found(world):
    moments = {ago: ago(seconds=1), timedelta(days=1): ago(days=-1)}
    for state, changes, rule in VIOLATIONS:
        healthy = stored(world[state])
        change(world[state], **{name: moment(value, moments) for name, value in changes.items()})
        ((count, says, examples),) = faults(conservation._fields())
        assert (count, examples) == (1, [world[state]])
        assert says.startswith(f"{conservation.BROKEN} {rule}")
        collection("jobs").replace_one({"_id": healthy["_id"]}, healthy)
    assert conservation.examine().wrong == 0


def moment(value, moments):
    return moments[value] if callable(value) or isinstance(value, timedelta) else value


def test_every_rule_has_a_violation():
    found = [says for _, _, says in VIOLATIONS]
    assert [
        rule.says for rule in conservation.RULES if not rule.says.startswith(tuple(found))
    ] == []


def test_a_missing_field_is_a_violation_and_no_exception(world):
    collection("jobs").update_one({"_id": ObjectId(world[State.DEAD])}, {"$unset": {"attempts": 1}})
    assert conservation.examine().fields.wrong == 1


def test_what_is_right_when_it_is_read_again_is_not_called_wrong(world, monkeypatch):
    change(world[State.PENDING], attempt=4)
    monkeypatch.setattr(time, "sleep", lambda _: change(world[State.PENDING], attempt=0))
    assert conservation.examine().fields.wrong == 0


def test_only_a_few_examples_are_named(quick):
    for _ in range(9):
        services.enqueue("echo", {})
    collection("jobs").update_many({}, {"$set": {"attempt": 9}})
    ((count, _, examples),) = faults(conservation.examine().fields)
    assert (count, len(examples)) == (9, conservation.EXAMPLES)


# --- 2: lanes ----------------------------------------------------------------------------------


def forget(id, lane=MEDIUM):
    assert clients.redis().lrem(lanes.key(lane), 0, str(id)) > 0


def test_a_lost_id_waits_for_repair_and_is_then_in_line(world, claim):
    collection("workers").delete_many({})
    change(world[State.PENDING], enqueued_at=ago(minutes=1))
    forget(world[State.PENDING])
    check = conservation.examine().in_line
    assert (check.ok, check.waiting, check.wrong) == (0, 1, 0)
    services.repair("default")
    assert conservation.examine().in_line.ok == 1


def test_a_lost_id_behind_others_waits_for_its_turn(world):
    lost = services.enqueue("echo", {})
    forget(lost)
    check = conservation.examine().in_line
    assert (check.ok, check.waiting, check.wrong) == (1, 1, 0)


def test_an_id_that_a_live_steward_does_not_put_back_is_wrong(world):
    change(world[State.PENDING], enqueued_at=ago(minutes=1))
    forget(world[State.PENDING])
    assert faults(conservation.examine().in_line) == [
        (1, conservation.STALLED, [world[State.PENDING]])
    ]


def test_a_steward_that_has_much_to_promote_has_not_forgotten_repair(world):
    change(world[State.PENDING], enqueued_at=ago(minutes=1))
    forget(world[State.PENDING])
    change(world[State.SCHEDULED], run_at=ago(seconds=5))
    check = conservation.examine().in_line
    assert (check.waiting, check.wrong) == (1, 0)


@pytest.mark.parametrize(
    "changes",
    [{"queue": "nobody-knows"}, {"priority": "urgent"}, {"enqueued_at": None}, {"ahead": 3600}],
    ids=str,
)
def test_a_job_that_repair_cannot_find_is_wrong(world, changes):
    forget(world[State.PENDING])
    if "ahead" in changes:
        changes = {"enqueued_at": ago(seconds=-changes["ahead"])}
    change(world[State.PENDING], **changes)
    assert faults(conservation.examine().in_line) == [
        (1, conservation.UNFINDABLE, [world[State.PENDING]])
    ]


def test_a_job_in_the_lane_of_another_priority_is_wrong(world):
    forget(world[State.PENDING])
    lanes.push([Hint(ObjectId(world[State.PENDING]), HIGH)])
    report = conservation.examine()
    assert faults(report.in_line) == [(1, conservation.ELSEWHERE, [world[State.PENDING]])]
    assert (report.hints.misplaced, report.hints.stale) == (1, 1)  # stale: the cancelled one


def test_stale_and_doubled_hints_are_counted_and_are_no_error(world):
    clients.redis().rpush(lanes.key(MEDIUM), "garbage", str(ObjectId()))
    lanes.push([Hint(ObjectId(world[State.PENDING]), MEDIUM)])
    report = conservation.examine()
    assert (report.wrong, report.in_line.ok) == (0, 1)
    assert report.hints == conservation.Hints(read=4, stale=2, doubled=1, misplaced=0)


def test_bounded_pieces_find_every_job(monkeypatch, quick):
    monkeypatch.setattr(conservation, "PIECE", 3)
    monkeypatch.setattr(lanes.ids, "__defaults__", (3,))
    ids = [services.enqueue("echo", {}) for _ in range(10)]
    forget(ids[4])
    report = conservation.examine()
    assert (report.fields.examined, report.in_line.ok, report.in_line.waiting) == (10, 9, 1)


def test_a_lane_that_is_pushed_to_and_taken_from_is_read_whole_and_once():
    hints = [Hint(ObjectId(), MEDIUM) for _ in range(10)]
    lanes.push(hints)
    pieces = lanes.ids(MEDIUM, 4)
    read = list(next(pieces))
    lanes.push(Hint(ObjectId(), MEDIUM) for _ in range(3))
    read += next(pieces)
    clients.redis().rpop(lanes.key(MEDIUM))
    lanes.push_at_head([hints[0]])
    read += [id for piece in pieces for id in piece]
    assert read == [hint.id.binary for hint in reversed(hints)]


# --- 3: holders --------------------------------------------------------------------------------


def test_a_job_of_a_lost_worker_waits_for_a_live_steward(world):
    register(silent_for=60)
    register(worker=ObjectId())
    check = conservation.examine().held
    assert (check.ok, check.waiting, check.wrong) == (0, 1, 0)


def test_a_job_of_a_lost_worker_is_stuck_where_no_steward_is_live(world):
    register(silent_for=60)
    report = conservation.examine()
    assert faults(report.held) == [(1, conservation.STUCK, [world[State.RUNNING]])]
    assert conservation.mend(report)["taken back"] == 1
    assert stored(world[State.RUNNING])["status"] == State.PENDING
    assert conservation.examine().wrong == 0


def test_what_a_live_steward_is_about_to_reap_is_left_to_it(world):
    register(silent_for=60)
    register(worker=ObjectId())
    assert conservation.mend(conservation.examine())["taken back"] == 0


def test_workers_that_an_outage_kept_silent_speak_up_before_they_are_called_lost(
    world, monkeypatch, settings
):
    register(silent_for=60)
    settings.WORKER_HEARTBEAT_SECONDS = 7
    monkeypatch.setattr(time, "sleep", lambda s: services.heartbeat([WORKER]) if s == 7 else None)
    check = conservation.examine().held
    assert (check.ok, check.waiting, check.wrong) == (1, 0, 0)


# --- 4: promotion ------------------------------------------------------------------------------


def test_overdue_jobs_are_wrong_while_a_steward_is_live(world):
    change(world[State.SCHEDULED], run_at=ago(seconds=40))
    change(world[State.RETRYING], run_at=ago(seconds=20))
    report = conservation.examine()
    assert faults(report.due) == [(1, conservation.UNPROMOTED, [world[State.SCHEDULED]])]
    assert conservation.mend(report)["promoted"] == 2
    assert conservation.examine().wrong == 0


def test_overdue_jobs_wait_where_nobody_is_live(world):
    register(silent_for=60)
    change(world[State.SCHEDULED], run_at=ago(seconds=40))
    check = conservation.examine().due
    assert (check.waiting, check.wrong) == (1, 0)


def test_promotion_that_is_only_behind_is_not_wrong(world, monkeypatch):
    """It takes the longest due first, so while that one changes it is at work."""
    change(world[State.SCHEDULED], run_at=ago(seconds=50))
    change(world[State.RETRYING], run_at=ago(seconds=40))
    monkeypatch.setattr(conservation, "EXAMPLES", 1)
    monkeypatch.setattr(services, "PROMOTE_BATCH", 1)
    monkeypatch.setattr(time, "sleep", lambda _: stored(world[State.RETRYING])["status"])
    monkeypatch.setattr(conservation, "_still_oldest", promoting(conservation._still_oldest))
    check = conservation.examine().due
    assert (check.waiting, check.wrong) == (1, 0)


def promoting(again):
    def wrapper(ids):
        services.promote()
        return again(ids)

    return wrapper


# --- 5: counters -------------------------------------------------------------------------------


def test_jobs_that_something_else_wrote_are_named_by_lane_and_state(world):
    services.count()
    change(world[State.DEAD], status="completed")
    collection("jobs").delete_one({"_id": ObjectId(world[State.PENDING])})
    counters = conservation.examine().counters
    examples = [
        "default/medium: claimable off by -1",
        "default/medium: completed off by +1",
        "default/medium: dead off by -1",
    ]
    assert faults(counters) == [(3, conservation.UNTRUE, examples)]
    assert (counters.examined, counters.ok) == (18, 15)


def test_a_total_that_was_tampered_with_is_named_and_put_right(world):
    total = {"_id": {"$regex": "^total/"}, "dead": 1}
    assert collection("tallies").update_one(total, {"$inc": {"dead": 3}}).modified_count == 1
    report = conservation.examine()
    assert faults(report.counters) == [(1, conservation.UNTRUE, ["default/medium: dead off by -3"])]
    assert conservation.mend(report)["counted again"] == 3
    assert conservation.examine().wrong == 0
    assert shown()["dead"] == 1


def test_totals_that_were_dropped_are_counted_again(world):
    services.count()
    collection("tallies").delete_many({})
    assert services.recount() == 6  # all but the running one, which is counted with its end
    assert services.recount() == 0
    assert shown() == {state.value: 1 for state in State}


def test_jobs_that_no_rule_knows_are_no_reason_to_fail(world):
    for place in ({"status": "lost"}, {"queue": None}, {"priority": 5}, {"queue": {"a": 1}}):
        change(world[State.DEAD], **place)
        (fault,) = faults(conservation.examine().counters)
        assert "default/medium: dead off by -1" in fault[2]
    collection("jobs").update_one({"_id": ObjectId(world[State.DEAD])}, {"$unset": {"queue": ""}})
    services.recount()
    assert conservation.examine().counters.wrong == 0


def shown():
    counts.forget()
    return counts.stats().by_status
