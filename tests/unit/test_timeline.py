from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from jobs import repository
from jobs.timeline import KEPT, LEAST, WHOLE, spans

ZERO = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


@dataclass
class Attempt:
    attempt: int
    claim: int
    started_at: datetime
    ended_at: datetime
    outcome: str = "failed"


@dataclass
class Job:
    status: str
    claim: int = 0
    attempt: int = 0
    created_at: datetime = ZERO
    enqueued_at: datetime = ZERO
    run_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    attempts: list[Attempt] = field(default_factory=list)


FAILED = Attempt(1, 1, at(10), at(14))


def kinds(job: Job, now: float = 100) -> list[str]:
    return [span.kind for span in spans(job, at(now))]


def test_a_life_is_told_in_order_and_drawn_to_scale() -> None:
    done = Attempt(2, 2, at(20), at(100), "completed")
    found = spans(Job("completed", attempts=[FAILED, done], enqueued_at=at(18)), at(500))
    assert [span.kind for span in found] == ["waited", "failed", "backoff", "waited", "completed"]
    assert [span.width for span in found] == [100, 40, 40, 20, 800]
    assert [span.x for span in found] == [0, 100, 140, 180, 200]
    assert [span.claim for span in found] == [0, 1, 0, 0, 2]
    assert found[1].seconds == 4.0


def test_when_an_earlier_backoff_ended_is_not_kept() -> None:
    again = [Attempt(2, 2, at(20), at(24)), Attempt(3, 3, at(40), at(41), "completed")]
    job = Job("completed", attempts=[FAILED, *again], enqueued_at=at(30))
    assert kinds(job) == [
        *("waited", "failed", "between", "failed", "backoff", "waited", "completed"),
    ]


def test_of_a_job_that_was_tried_very_often_the_first_attempts_are_left_out() -> None:
    many = [Attempt(1, n, at(n), at(n + 0.5), "crashed") for n in range(100, 100 + KEPT)]
    assert kinds(Job("dead", attempts=many))[0] == "left_out"
    assert KEPT == repository.KEPT_ATTEMPTS


def test_what_is_too_short_is_still_seen_and_the_rest_stays_to_scale() -> None:
    quick = Attempt(1, 1, at(999.999), at(1000), "completed")
    found = spans(Job("completed", attempts=[quick]), at(2000))
    assert [span.width for span in found] == [WHOLE - LEAST, LEAST]


def test_a_pending_job_waits_until_now() -> None:
    (only,) = spans(Job("pending"), at(60))
    assert (only.kind, only.end, only.width) == ("waited", None, WHOLE)


def test_a_job_that_was_scheduled_waited_for_its_time_first() -> None:
    job = Job("running", enqueued_at=at(30), started_at=at(31), claim=1)
    assert kinds(job) == ["scheduled", "waited", "running"]


def test_what_a_job_still_waits_for_is_drawn_too() -> None:
    assert kinds(Job("scheduled", run_at=at(60))) == ["scheduled"]
    found = spans(Job("retrying", attempt=1, attempts=[FAILED], run_at=at(20)), at(15))
    assert [(span.kind, span.end) for span in found][-1] == ("backoff", at(20))


def test_between_death_and_requeue_it_rested() -> None:
    dead = Attempt(4, 4, at(10), at(14))
    job = Job("pending", attempts=[dead], claim=4, attempt=0, enqueued_at=at(50))
    assert kinds(job) == ["waited", "failed", "rested", "waited"]
    again = Attempt(1, 5, at(60), at(70))
    assert kinds(Job("dead", attempts=[dead, again])) == [*("waited", "failed", "rested", "failed")]


def test_after_a_crash_it_waits_without_backoff() -> None:
    crashed = Attempt(1, 1, at(10), at(14), "crashed")
    assert kinds(Job("pending", attempts=[crashed])) == ["waited", "crashed", "waited"]


def test_a_job_that_lived_no_time_at_all_is_drawn_all_the_same() -> None:
    assert [span.width for span in spans(Job("pending"), ZERO)] == [WHOLE]
