"""What a process makes of a store that is away, and how much it remembers."""

import threading

import pytest
from pymongo.errors import (
    AutoReconnect,
    ExecutionTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from jobs.errors import NotFound, StoreDown
from jobs.memory import Memory
from jobs.outages import Store


def fail(store: Store, error: Exception) -> None:
    with pytest.raises(type(error)), store.asked():
        raise error


@pytest.fixture
def store() -> Store:
    return Store("Test", (StoreDown,))


def test_a_failure_is_an_outage_until_the_store_answers(store: Store) -> None:
    fail(store, StoreDown("no answer"))
    assert store.since is not None
    store._next_try = 0.0
    with store.asked():
        pass
    assert store.since is None


def test_during_an_outage_nobody_waits_but_one(store: Store) -> None:
    fail(store, StoreDown("no answer"))
    store._next_try = 0.0
    trying, ended = threading.Event(), threading.Event()

    def try_it() -> None:
        with store.asked():
            trying.set()
            ended.wait(30)

    thread = threading.Thread(target=try_it)
    thread.start()
    trying.wait(30)
    with pytest.raises(StoreDown, match="does not answer"), store.asked():
        raise AssertionError("it was asked")
    ended.set()
    thread.join()
    with store.asked():
        pass


def test_what_says_nothing_about_the_store_ends_no_outage_and_begins_none(store: Store) -> None:
    fail(store, NotFound("no such job"))
    assert store.since is None
    fail(store, StoreDown("no answer"))
    since, store._next_try = store.since, 0.0
    fail(store, NotFound("no such job"))
    assert store.since == since


@pytest.mark.parametrize(
    ("cause", "absent"),
    [
        (ServerSelectionTimeoutError("nobody there"), True),
        (AutoReconnect("connection closed"), True),
        (ExecutionTimeout("too slow", 50), False),
        (OperationFailure("not allowed", 13), False),
        (None, True),
    ],
)
def test_what_is_slow_or_refused_is_no_absence(
    store: Store, cause: Exception | None, absent: bool
) -> None:
    with pytest.raises(StoreDown), store.asked():
        raise StoreDown("it failed") from cause
    assert (store.since is not None) == absent


def test_the_memory_is_bounded_and_what_is_used_stays() -> None:
    memory = Memory[int](2)
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.get("a") == 1
    memory.put("c", 3)
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == (1, None, 3)
    memory.forget("a")
    memory.forget("nothing")
    assert memory.get("a") is None
    memory.clear()
    assert memory.get("c") is None
