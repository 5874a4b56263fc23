"""A limit holds whoever asks at once, and gives way only when Redis is away."""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from jobs import clients, limits
from jobs.errors import RateLimited

CLIENTS = 50
LIMIT = 500


@pytest.fixture(autouse=True)
def _limits(stores: str, settings: Any) -> None:
    settings.RATE_LIMIT_READ = LIMIT


def taken(kind: limits.Kind = "read", who: str = "token:1", cost: int = 1) -> bool:
    try:
        limits.take(kind, who, cost)
    except RateLimited:
        return False
    return True


def _ask(client: int) -> int:
    return sum(taken() for _ in range(2 * LIMIT // CLIENTS))


def test_fifty_threads_at_once_get_the_limit_and_no_more() -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        assert sum(pool.map(_ask, range(CLIENTS))) == LIMIT


def _ask_apart(url: str, prefix: str, start: Any, answers: Any) -> None:
    from django.conf import settings

    settings.REDIS_URL, settings.REDIS_PREFIX, settings.RATE_LIMIT_READ = url, prefix, LIMIT
    clients._shared_redis.cache_clear()
    start.wait(30)
    answers.put(sum(taken() for _ in range(LIMIT)))


def test_processes_at_once_get_the_limit_and_no_more(settings: Any) -> None:
    fork = multiprocessing.get_context("fork")
    start, answers = fork.Barrier(4), fork.Queue()
    stores = (settings.REDIS_URL, settings.REDIS_PREFIX)
    asking = [
        fork.Process(target=_ask_apart, args=(*stores, start, answers), daemon=True)
        for _ in range(4)
    ]
    for process in asking:
        process.start()
    assert sum(answers.get(timeout=30) for _ in asking) == LIMIT
    for process in asking:
        process.join()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    """A window of a second, which a test can wait for."""
    monkeypatch.setattr(limits, "WINDOW_SECONDS", 1)
    return 1


def test_never_more_than_the_limit_within_any_window(short: int) -> None:
    moments: list[float] = []
    begin = time.monotonic()
    while time.monotonic() < begin + 5:
        before = time.monotonic()
        if taken():
            moments.append(before)
    assert len(moments) > LIMIT  # the limit does come back
    pairs = zip(moments, moments[LIMIT:], strict=False)
    assert all(later - earlier > short - 0.05 for earlier, later in pairs)


def test_a_refusal_says_when_to_come_back_and_that_holds(
    short: int, until: Callable[..., Any]
) -> None:
    limits.take("read", "token:1", LIMIT)
    with pytest.raises(RateLimited) as refusal:
        limits.take("read", "token:1")
    wait = refusal.value.allowance.reset_seconds
    assert 1 <= wait <= 2 * short
    began = time.monotonic()
    until(taken, seconds=wait + 1)
    assert time.monotonic() - began <= wait + 0.1


def test_many_at_once_are_taken_all_or_none() -> None:
    assert taken(cost=LIMIT - 1)
    assert not taken(cost=2)
    assert taken(cost=1)


def test_what_never_fits_does_not_say_to_wait() -> None:
    with pytest.raises(RateLimited, match="smaller parts") as refusal:
        limits.take("read", "token:1", LIMIT + 1)
    assert not refusal.value.wait


def test_each_caller_and_each_kind_has_its_own() -> None:
    assert taken(cost=LIMIT)
    assert taken(who="token:2", cost=LIMIT)
    assert taken("write")


def test_what_is_left_and_the_key_itself_go_away() -> None:
    allowance = limits.take("read", "token:1", 3)
    assert allowance is not None
    assert (allowance.limit, allowance.remaining) == (LIMIT, LIMIT - 3)
    assert 0 < clients.redis().ttl(limits.key("read", "token:1")) <= limits.WINDOW_SECONDS + 1  # type: ignore[operator]


def test_zero_is_no_limit(settings: Any) -> None:
    settings.RATE_LIMIT_READ = 0
    assert limits.take("read", "token:1", 10**9) is None


@pytest.mark.usefixtures("no_redis")
def test_without_redis_nobody_is_refused_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert all(taken(cost=LIMIT) for _ in range(20))
    assert caplog.text.count("limits.uncounted") == 1


def test_it_costs_one_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    execute = Redis.execute_command
    limits.take("read", "token:1")  # the script is known to Redis from here on

    def count(self: Redis, *args: Any, **options: Any) -> Any:
        sent.append(args[0])
        return execute(self, *args, **options)

    monkeypatch.setattr(Redis, "execute_command", count)
    limits.take("read", "token:1")
    assert sent == ["EVALSHA"]
