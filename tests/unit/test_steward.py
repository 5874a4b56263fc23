import time
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from jobs import services
from jobs.claims import Holding
from jobs.errors import StoreDown
from jobs.mongodb import CALL_SECONDS
from workers.board import Board, Running
from workers.steward import SPARE, Chore, Steward

BOOT = ObjectId()
NO_PIPE = -1


def executing(board: Board, slot: int, seconds: float) -> Running:
    running = Running(ObjectId(), 5, time.monotonic() - seconds, 0.0)
    board.start(0, slot, running)
    return running


def test_only_long_executions_are_asked_about_and_those_that_moved_on_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board, asked = Board(2, 4, []), []
    board.enter(0, BOOT)
    young, kept, gone = (executing(board, slot, age) for slot, age in enumerate((0.5, 2, 3)))

    def moved_on(holdings: Any) -> Any:
        asked.extend(holdings)
        return [holding for holding in holdings if holding.job == gone.job]

    monkeypatch.setattr(services, "moved_on", moved_on)
    Steward(board, ObjectId(), NO_PIPE).tell_moved_on()
    assert asked == [Holding(BOOT, kept.job, 5), Holding(BOOT, gone.job, 5)]
    told = [board.has_moved_on(0, slot, one.job, 5) for slot, one in enumerate((young, kept, gone))]
    assert told == [False, False, True]


def test_while_jobs_are_quick_mongodb_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.repository.collection", None)  # using it would raise
    board = Board(1, 2, [])
    board.enter(0, BOOT)
    executing(board, 0, 0.1)
    Steward(board, ObjectId(), NO_PIPE).tell_moved_on()


def test_what_the_next_boot_executes_is_not_asked_about_under_the_boot_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The steward stands still between reading who has the row and what it executes.
    board = Board(1, 1, [])
    board.enter(0, BOOT)
    steward, started = Steward(board, ObjectId(), NO_PIPE), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: started)

    def boot_then_another(worker: int) -> ObjectId:
        board.enter(worker, ObjectId())
        board.start(worker, 0, Running(ObjectId(), 1, started + 0.001, 0.0))
        return BOOT

    monkeypatch.setattr(board, "boot", boot_then_another)
    assert list(steward._long_executions()) == []


def test_a_steward_that_comes_to_lead_does_not_wait_as_long_as_those_who_do_not() -> None:
    chore = Chore("reap", 5.0, lambda: None, for_all=True)
    assert chore.due(leading=False) < time.monotonic()
    chore.run()
    assert chore.due(leading=False) == pytest.approx(chore.ran_at + 5 * SPARE)
    assert chore.due(leading=True) == pytest.approx(chore.ran_at + 5)


def test_a_new_steward_waits_until_whoever_lives_has_beaten_and_no_longer(settings: Any) -> None:
    settings.WORKER_HEARTBEAT_SECONDS, settings.WORKER_LOST_SECONDS = 5, 30
    steward = Steward(Board(1, 1, []), ObjectId(), NO_PIPE)
    assert steward.no_reaping_until - steward.beat_at == pytest.approx(2 * 5 + CALL_SECONDS)
    settings.WORKER_LOST_SECONDS = 8
    steward = Steward(Board(1, 1, []), ObjectId(), NO_PIPE)
    assert steward.no_reaping_until - steward.beat_at == pytest.approx(8)


@pytest.mark.parametrize(
    ("due_in", "looks_again_in"), [(None, 1.0), (60.0, 1.0), (0.4, 0.4), (0.05, 0.2), (-3.0, 0.2)]
)
def test_promotion_looks_again_when_the_next_job_is_due(
    monkeypatch: pytest.MonkeyPatch, due_in: float | None, looks_again_in: float
) -> None:
    promoted = iter([2, 1, 0])
    monkeypatch.setattr(services, "due_in", lambda: due_in)
    monkeypatch.setattr(services, "promote", lambda: next(promoted))
    steward = Steward(Board(1, 1, []), ObjectId(), NO_PIPE)
    steward.promote()
    assert steward.promoting.seconds == pytest.approx(looks_again_in)
    left = list(promoted)
    assert left == ([] if due_in == -3.0 else [2, 1, 0])


def test_deletion_rests_while_nothing_is_old_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    deleted = iter([500, 3, 0, 0])
    monkeypatch.setattr(services, "expire", lambda: next(deleted))
    steward = Steward(Board(1, 1, []), ObjectId(), NO_PIPE)
    steward.expire()
    assert steward.expiring.seconds == 1.0
    steward.expire()
    assert steward.expiring.seconds == 5.0


@pytest.mark.parametrize(
    ("service", "chore", "busy", "idle"),
    [("count", "counting", 2.0, 5.0), ("operate", "operating", 0.1, 2.0)],
)
def test_a_chore_without_work_rests(
    monkeypatch: pytest.MonkeyPatch, service: str, chore: str, busy: float, idle: float
) -> None:
    steward = Steward(Board(1, 1, []), ObjectId(), NO_PIPE)
    for done, seconds in [([7, 0], busy), ([0], idle)]:
        left = iter(done)
        monkeypatch.setattr(services, service, lambda left=left: next(left))
        getattr(steward, chore).act()
        assert getattr(steward, chore).seconds == seconds


def test_repair_looks_again_soon_after_something_was_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = {"images": 0, "default": 3}
    monkeypatch.setattr(services, "repair", lambda queue: {"high": missing[queue], "low": 0})
    steward = Steward(Board(1, 1, []), ObjectId(), NO_PIPE)
    steward.known = list(missing)
    steward.repair()
    assert steward.repairing.seconds == 1.0
    missing["default"] = 0
    steward.repair()
    assert steward.repairing.seconds == 2.0


def test_it_says_when_each_chore_ran_last_and_what_waits_for_a_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: dict[str, Any] = {}

    def report(supervisor: ObjectId, ages: Any, **facts: Any) -> None:
        said.update(ages=ages, **facts)

    monkeypatch.setattr(services, "report_steward", report)
    steward = Steward(Board(1, 1, []), ObjectId(), NO_PIPE)
    ran = {chore.name: chore for chore in steward.chores}
    ran["repair"].ran_at, ran["repair"].failing = time.monotonic() - 5, True
    steward.report()
    assert set(said["ages"]) == {"repair"}  # the others have not run yet
    assert 5 <= said["ages"]["repair"]["seconds"] < 30
    assert said["ages"]["repair"]["failing"]
    assert not said["leading"]


def test_the_leader_says_a_sample_once_it_was_heard_and_its_life_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = datetime.now(UTC)
    asked, said, down = list[Any](), list[Any](), [False]

    def sample(last: datetime | None) -> Any:
        asked.append(last)
        if down[0]:
            raise StoreDown("too slow")
        return {"at": now}

    def report(*_: Any, sample: Any, **facts: Any) -> None:
        said.append(sample)
        if len(said) == 2:
            raise StoreDown("gone")

    monkeypatch.setattr(services, "sample", sample)
    monkeypatch.setattr(services, "report_steward", report)
    steward = Steward(Board(1, 1, []), ObjectId(), NO_PIPE)
    steward.report()
    assert (asked, said) == ([], [None])  # it does not lead
    steward.leading = True
    with pytest.raises(StoreDown):
        steward.report()
    steward.report()
    down[0] = True
    steward.report()
    assert asked == [None, None, now]
    assert said[1:] == [{"at": now}, {"at": now}, None]


def test_while_there_is_more_than_one_pass_counts_the_next_one_is_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.steward.TIDY_PASS_SECONDS", 0.0)
    monkeypatch.setattr(services, "count", lambda: 200)
    steward = Steward(Board(1, 1, []), ObjectId(), NO_PIPE)
    steward.count()
    assert steward.counting.seconds == 0.6
