"""What the facts about a waiting job mean. What the stores say is in tests/web/test_why.py."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobs.registry import Lane
from jobs.states import State
from jobs.why import Ahead, Facts, Rate, Server, Why, explain

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
HIGH, LOW = Lane("default", "high"), Lane("default", "low")
FREE = Server(["default"], ["send_email"], quiet=False, slots=3, busy=0)
BUSY = replace(FREE, busy=3)
FACTS = Facts(
    type="send_email",
    lane=LOW,
    status=State.PENDING,
    now=NOW,
    servers=[FREE],
    ahead=[Ahead(LOW, 0)],
    rate=Rate(1590, 300.0),
)


def codes(why: Why) -> list[str]:
    return [block.code for block in why.blocks]


def test_a_job_that_is_next_is_taken_in_a_moment() -> None:
    why = explain(FACTS)
    assert why.summary == "It is next: a worker takes it in a moment."
    assert (why.ahead, why.estimate_seconds, codes(why)) == (0, 0.0, [])


def test_a_place_in_line_and_an_estimate_with_its_basis() -> None:
    why = explain(replace(FACTS, ahead=[Ahead(HIGH, 200), Ahead(LOW, 12)]))
    assert why.summary == "It waits its turn: 212 jobs ahead of it."
    assert (why.ahead, why.estimate_seconds) == (212, 40.0)
    assert why.basis.startswith("212 jobs ahead, 5.3/s over the last 5 minutes")
    assert codes(why) == ["behind"]
    assert "200 in default/high" in why.blocks[0].text


def test_more_than_is_counted_is_said_to_be_at_least_that() -> None:
    why = explain(replace(FACTS, ahead=[Ahead(LOW, 10_000, capped=True)]))
    assert why.capped
    assert "10,000 or more jobs" in why.summary
    assert "at least" in why.basis


def test_without_a_rate_there_is_no_estimate_and_it_says_why() -> None:
    waiting = replace(FACTS, ahead=[Ahead(LOW, 5)])
    for rate, said in ((Rate(0, 0.0), "nothing ended lately"), (None, "too many queues")):
        why = explain(replace(waiting, rate=rate))
        assert why.estimate_seconds is None
        assert said in why.basis


def test_the_next_one_of_busy_workers_waits_for_a_slot() -> None:
    why = explain(replace(FACTS, servers=[BUSY, BUSY]))
    assert codes(why) == ["busy"]
    assert "All 6 slots" in why.blocks[0].text
    assert why.summary == "It is next: a worker takes it as soon as a busy slot is free."
    assert why.estimate_seconds is None


def test_a_free_slot_of_a_quiet_worker_is_none() -> None:
    why = explain(replace(FACTS, servers=[BUSY, replace(FREE, quiet=True)]))
    assert codes(why) == ["busy"]
    assert "All 3 slots" in why.blocks[0].text


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"redis": False, "in_lane": None}, "redis_down", "safe in MongoDB"),
        ({"paused": "Queue default is paused, by ada since 09:00."}, "paused", "by ada"),
        ({"servers": []}, "no_worker", "No worker is live"),
        (
            {"servers": [replace(FREE, queues=["mail"])]},
            "no_worker",
            "those that are live serve mail",
        ),
        ({"servers": [replace(FREE, quiet=True)]}, "quiet", "take no new job"),
    ],
)
def test_what_nobody_can_work_past_is_said_first_and_has_no_estimate(
    changed: dict[str, object], code: str, said: str
) -> None:
    why = explain(replace(FACTS, ahead=[Ahead(HIGH, 3), Ahead(LOW, 2)], **changed))  # type: ignore[arg-type]
    assert codes(why)[0] == code
    assert said in why.summary
    assert why.blocks[0].remedy
    assert (why.estimate_seconds, why.basis) == (None, "none until that is over.")


def test_one_worker_that_is_not_quiet_is_enough() -> None:
    assert codes(explain(replace(FACTS, servers=[FREE, replace(FREE, quiet=True)]))) == []


def test_a_type_that_no_worker_has_code_for_will_fail_but_does_not_block() -> None:
    why = explain(replace(FACTS, type="send_sms"))
    assert codes(why) == ["unknown_type"]
    assert "fails it" in why.summary
    assert why.estimate_seconds is not None
    unsaid = replace(FREE, types=None)  # a worker of an older version
    assert codes(explain(replace(FACTS, type="send_sms", servers=[unsaid]))) == []


def test_an_id_that_redis_lacks_is_put_back() -> None:
    why = explain(replace(FACTS, in_lane=False))
    assert codes(why) == ["not_in_lane"]
    assert "within some 3 s" in why.blocks[0].remedy


@pytest.mark.parametrize(
    ("status", "code"), [(State.SCHEDULED, "scheduled"), (State.RETRYING, "backoff")]
)
def test_a_job_that_waits_for_a_time_says_which_and_adds_the_line_after_it(
    status: State, code: str
) -> None:
    later = replace(FACTS, status=status, run_at=NOW + timedelta(seconds=60), servers=[BUSY])
    why = explain(replace(later, ahead=[Ahead(LOW, 53)]))
    assert codes(why) == [code]
    assert "2026-11-25 10:01:00 UTC" in why.summary
    assert (why.ahead, why.estimate_seconds) == (None, 70.0)
    assert why.basis.startswith("due in 60 s; 53 jobs ahead")


def test_a_job_that_nobody_promotes_is_overdue() -> None:
    late = replace(FACTS, status=State.SCHEDULED, run_at=NOW - timedelta(seconds=60))
    why = explain(late)
    assert codes(why) == ["overdue"]
    assert why.estimate_seconds is None
    assert codes(explain(replace(late, run_at=NOW - timedelta(seconds=1)))) == ["scheduled"]
