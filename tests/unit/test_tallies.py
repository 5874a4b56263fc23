"""What one transaction changes, in which documents; and what a histogram can tell."""

import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.registry import Lane
from jobs.states import State
from jobs.tallies import BUCKETS, Changes, bucket, bucket_end, error_name, error_of, quantile

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
MINUTE = NOW.replace(second=0, microsecond=0)
LANE = Lane("a.b", "high")
MONTH = 30 * 86_400_000.0  # of a queue that was paused, say
MILLISECONDS = st.floats(1, MONTH)


def written(changes: Changes) -> dict[str, dict[str, int]]:
    """Return what is added, by the name of the document."""
    return {name["_id"]: dict(more) for name, more in changes.additions(NOW, 3)}


def test_a_move_is_written_where_it_leads_and_where_it_comes_from() -> None:
    changes = Changes()
    changes.left(LANE, State.RETRYING)
    changes.entered(LANE, State.PENDING)
    assert written(changes) == {"total/a.b/high/3": {"retrying": -1, "claimable": 1}}


@pytest.mark.parametrize(
    ("source", "target"), [(State.PENDING, State.RUNNING), (State.RUNNING, State.PENDING)]
)
def test_a_claim_and_its_return_write_nothing(source: State, target: State) -> None:
    changes = Changes()
    changes.left(LANE, source)
    changes.entered(LANE, target)
    assert written(changes) == {}


def test_what_is_in_no_known_state_is_in_no_total() -> None:
    changes = Changes()
    changes.left(LANE, "lost")
    changes.entered(LANE, "")
    assert written(changes) == {}


def test_an_outcome_of_a_newer_version_is_in_no_minute() -> None:
    changes = Changes()
    changes.ended("q", "x", "evicted", ran=1.0)
    assert written(changes) == {}


def test_every_minute_is_kept_of_a_type_of_its_queue_and_of_all() -> None:
    changes = Changes()
    changes.accepted("a.b", "x", None)
    changes.accepted("a.b", "y", None)
    changes.accepted("c", "x", None)
    assert {name: more["accepted"] for name, more in written(changes).items()} == {
        f"minute/{MINUTE}/a.b/x/3": 1,
        f"minute/{MINUTE}/a.b/y/3": 1,
        f"minute/{MINUTE}/a.b//3": 2,
        f"minute/{MINUTE}/c/x/3": 1,
        f"minute/{MINUTE}/c//3": 1,
        f"minute/{MINUTE}///3": 3,
    }


def test_what_was_accepted_or_ended_before_is_written_to_its_own_minute() -> None:
    changes = Changes()
    changes.accepted("q", "x", NOW - timedelta(hours=1))
    changes.ended("q", "x", "failed", at=NOW - timedelta(minutes=1))
    changes.ended("q", "x", "failed")
    minutes = {
        (name["minute"], *more) for name, more in changes.additions(NOW, 0) if name["type"] == "x"
    }
    assert minutes == {
        (MINUTE - timedelta(hours=1), "accepted"),
        (MINUTE - timedelta(minutes=1), "failed.jobs"),
        (MINUTE, "failed.jobs"),
    }


def test_an_end_has_its_outcome_and_both_times_if_they_are_known() -> None:
    changes = Changes()
    changes.ended("q", "x", "completed", waited=0.2, ran=1000.4)
    changes.ended("q", "x", "crashed")
    assert written(changes)[f"minute/{MINUTE}/q/x/0".replace("/0", "/3")] == {
        "completed.jobs": 1,
        "waited.0": 1,
        f"completed.ran.{bucket(1000.4)}": 1,
        "completed.ran_ms": 1000,
        "crashed.jobs": 1,
    }


@given(MILLISECONDS)
def test_a_time_is_in_the_bucket_that_ends_after_it(milliseconds: float) -> None:
    number = bucket(milliseconds)
    assert milliseconds <= bucket_end(number) * (1 + 1e-9)
    assert number == 0 or milliseconds >= bucket_end(number - 1) * (1 - 1e-9)


@pytest.mark.parametrize("milliseconds", [-5.0, 0.0, 0.99, 1e300])
def test_no_time_is_without_a_bucket(milliseconds: float) -> None:
    assert bucket(milliseconds) == (0 if milliseconds < 1 else BUCKETS - 1)


def test_a_bucket_has_its_number_for_good() -> None:
    """Minutes are kept for two weeks, longer than a version is."""
    times = [0.5, 1.0, 1_000.0, 3_600_000.0, 86_400_000.0, MONTH]
    assert [bucket(milliseconds) for milliseconds in times] == [0, 1, 20, 44, 53, 63]


@given(st.lists(MILLISECONDS, min_size=1), st.floats(0, 1))
def test_a_quantile_is_off_by_a_factor_of_the_root_of_two_at_most(
    times: list[float], share: float
) -> None:
    wanted = max(math.ceil(share * len(times)), 1)
    true = sorted(times)[wanted - 1]
    told = quantile(Counter(map(bucket, times)), share)
    assert told is not None
    assert true / math.sqrt(2) * (1 - 1e-9) <= told <= true * math.sqrt(2) * (1 + 1e-9)


def test_quantiles_grow_with_their_share_and_of_nothing_there_is_none() -> None:
    histogram = {0: 5, 7: 0, 9: 90, 20: 5}
    told = [quantile(histogram, share / 100) for share in range(101)]
    assert told == sorted(told, key=lambda value: value or 0)
    assert quantile({}, 0.5) is None
    assert quantile({3: 0}, 0.5) is None


@pytest.mark.parametrize("type", ["send_email", "a.b-c"])
def test_the_name_of_an_error_has_no_level_of_its_own(type: str) -> None:
    name = error_name(type, "smtplib.SMTPError")
    assert name.count(".") == 1
    assert error_of(name) == (type, "smtplib.SMTPError")


def test_an_error_is_counted_once_in_the_minute_of_all() -> None:
    changes = Changes()
    changes.ended("mail", "send_email", "failed", error_type="KeyError")
    changes.ended("mail", "send_email", "completed")
    errors = {
        (name["queue"], name["type"]): more[error]
        for name, more in changes.additions(NOW, 0)
        for error in more
        if error.startswith("errors.")
    }
    assert errors == {("", ""): 1}
