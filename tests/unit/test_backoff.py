import pytest

from jobs.backoff import JITTER, MAX_SECONDS, delay_seconds


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 2), (2, 4), (3, 8), (4, 16)])
def test_the_wait_doubles_from_the_base(attempt: int, seconds: float) -> None:
    assert delay_seconds(attempt, 2, chance=0) == seconds


def test_jitter_only_adds_and_at_most_a_tenth() -> None:
    waits = [delay_seconds(1, 2) for _ in range(1000)]
    assert min(waits) >= 2
    assert max(waits) <= 2 * (1 + JITTER)
    assert len(set(waits)) > 900


def test_a_wait_never_grows_past_its_cap_however_many_attempts_there_were() -> None:
    assert delay_seconds(10_000, 2, chance=0) == MAX_SECONDS
