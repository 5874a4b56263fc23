"""A request may be repeated: nothing that was stored is stored twice, or called lost."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from bson import ObjectId
from django.db import connections
from pydantic import Field
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, ExecutionTimeout

from jobs import clients, encoding, idempotency, job, lanes, mongodb, registry, repository, services
from jobs.clients import collection
from jobs.errors import IdempotencyConflict, InvalidRequest, StoreDown
from jobs.idempotency import digest
from jobs.registry import Lane
from jobs.requests import Request
from tests.services.conftest import stored

ONE = [Request(type="echo", payload={"value": 1})]
MANY = [Request(type="echo", payload={"value": n}) for n in range(5)]


def count(name: str = "jobs") -> int:
    return collection(name).count_documents({})


def in_lane() -> int:
    return clients.redis().llen(lanes.key(Lane("default", "medium")))  # type: ignore[return-value]


# --- a lost reply, without a key --------------------------------------------------------------

Lose = Callable[[type, str], list[int]]


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Lose:
    """Let the first call of a method take effect, and lose its reply; count the calls."""

    def losing(owner: type, name: str) -> list[int]:
        real, calls = getattr(owner, name), [0]

        def method(*args: Any, **options: Any) -> Any:
            calls[0] += 1
            answer = real(*args, **options)
            if calls[0] == 1:
                raise AutoReconnect("the reply was lost")
            return answer

        monkeypatch.setattr(owner, name, method)
        return calls

    return losing


def test_one_job_whose_reply_was_lost_is_accepted_once(lose: Lose) -> None:
    services.enqueue("echo", {})  # the queue is known from here on
    calls = lose(Collection, "insert_one")
    id = services.enqueue("echo", {})
    assert calls == [2]
    assert stored(id)["status"] == "pending"
    assert count() == in_lane() == 2


@pytest.mark.parametrize("key", [None, "k"])
def test_many_jobs_whose_reply_was_lost_are_accepted_once(lose: Lose, key: str | None) -> None:
    calls = lose(ClientSession, "with_transaction")
    accepted = services.accept(MANY, key=key)
    assert calls == [2]
    assert not accepted.replayed
    assert [stored(id)["payload"]["value"] for id in accepted.ids] == [0, 1, 2, 3, 4]
    assert count() == in_lane() == 5


@pytest.mark.parametrize("key", ["", "x" * 201, "\udcff"])
def test_what_cannot_be_a_key_is_refused_by_its_name(key: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        services.enqueue_many(ONE, key=key)
    assert [error.field for error in caught.value.errors] == [idempotency.FIELD]
    assert count() == 0


def test_an_id_that_belongs_to_another_job_is_no_lost_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken, free = ObjectId(services.enqueue("echo", {})), ObjectId()
    monkeypatch.setattr(encoding, "ids", lambda count: [free, taken])
    with pytest.raises(StoreDown, match="duplicate key"):
        services.enqueue_many(MANY[:2])
    assert count() == 1


def test_no_acknowledgement_in_time_is_a_store_that_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services.enqueue("echo", {})
    monkeypatch.setattr(repository, "INSERT_SECONDS", 1e-9)
    for asked, key in ((ONE, None), (MANY, None), (ONE, "k")):
        with pytest.raises(StoreDown) as caught:
            services.enqueue_many(asked, key=key)
        assert not isinstance(caught.value.__cause__, ExecutionTimeout)  # as of a slow question
    assert count() == 1
    assert count("requests") == 0


def test_a_caller_is_not_held_while_the_key_is_held_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with clients.mongo().client.start_session() as session, session.start_transaction():
        held = idempotency.accepted_request(
            "k", "", idempotency.digest(ONE), [ObjectId()], mongodb.now()
        )
        collection("requests").insert_one(held, session=session)
        started = time.monotonic()
        with monkeypatch.context() as hurried:
            hurried.setattr(repository, "INSERT_SECONDS", 0.2)
            with pytest.raises(StoreDown):
                services.enqueue_many(ONE, key="k")
        assert time.monotonic() - started < 10
        session.abort_transaction()
    assert count() == 0
    assert services.enqueue_many(ONE, key="k")


# --- a key ------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [ONE, MANY])
def test_the_same_request_under_the_same_key_is_stored_once(asked: list[Request]) -> None:
    first = services.accept(asked, key="k")
    again = services.accept(asked, key="k")
    assert (first.replayed, again.replayed) == (False, True)
    assert first.ids == again.ids
    assert count() == in_lane() == len(asked)
    assert services.enqueue_many(asked, key="other") != first.ids


def test_what_is_stored_of_a_request_expires_after_a_day_and_does_not_tell_its_key() -> None:
    before = mongodb.now()
    ids = services.enqueue_many(MANY, key="secret")
    (request,) = collection("requests").find()
    assert set(request) == {"_id", "digest", "ids", "expire_at"}
    assert [str(id) for id in request["ids"]] == ids
    assert timedelta(hours=24) == idempotency.KEPT
    assert abs(request["expire_at"] - before - idempotency.KEPT) < timedelta(seconds=60)
    (index,) = [i for i in collection("requests").list_indexes() if i["name"] == "request_expiry"]
    assert (dict(index["key"]), index["expireAfterSeconds"]) == ({"expire_at": 1}, 0)


def test_a_key_that_has_expired_may_be_used_anew() -> None:
    (first,) = services.enqueue_many(ONE, key="k")
    collection("requests").delete_many({})  # as MongoDB does then
    assert services.enqueue_many(ONE, key="k") != [first]
    assert services.enqueue_many(MANY, key="other")
    assert count() == 7


@pytest.mark.parametrize(
    "other",
    [
        [Request(type="echo", payload={"value": 2})],
        [Request(type="echo", payload={"value": 1}, priority="low")],
        [Request(type="echo", payload={"value": 1}, delay=0)],
        [*ONE, *ONE],
    ],
)
def test_another_request_under_the_same_key_is_refused(other: list[Request]) -> None:
    services.enqueue_many(ONE, key="k")
    with pytest.raises(IdempotencyConflict):
        services.enqueue_many(other, key="k")
    assert count() == count("requests") == 1


def test_each_caller_has_keys_of_its_own() -> None:
    accepted = [services.accept(ONE, key="k", scope=scope) for scope in ("", "ann", "bob")]
    assert len({each.ids[0] for each in accepted}) == 3
    assert services.accept(ONE, key="k", scope="bob") == services.Accepted(accepted[2].ids, True)


def test_a_refused_request_leaves_its_key_free() -> None:
    with pytest.raises(InvalidRequest):
        services.enqueue("echo", {"nope": 1}, key="k")
    assert count("requests") == 0
    assert stored(services.enqueue("echo", {}, key="k"))


@pytest.mark.parametrize("key", ["", "x" * 201, "tab\t", "line\n", "é", "\0"])
def test_a_bad_key_is_named_and_stores_nothing(key: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        services.enqueue("echo", {}, key=key)
    assert [error.field for error in caught.value.errors] == ["Idempotency-Key"]
    assert count() == count("requests") == 0


def test_a_key_of_200_characters_is_one() -> None:
    assert services.enqueue("echo", {}, key="~ " * 100) == services.enqueue(
        "echo", {}, key="~ " * 100
    )


def test_a_typed_function_takes_a_key() -> None:
    echo = registry.get("echo")
    assert echo is not None
    keyed = echo.options(idempotency_key="k")
    assert keyed.enqueue(1) == keyed.enqueue(value=1)
    with pytest.raises(IdempotencyConflict):
        keyed.enqueue(2)
    assert count() == 1


def test_a_job_that_retention_has_deleted_keeps_its_id() -> None:
    ids = services.enqueue_many(ONE, key="k")
    collection("jobs").delete_many({})
    assert services.enqueue_many(ONE, key="k") == ids
    assert count() == 0


def at_once(asked: Callable[[int], list[Request]], threads: int = 16) -> list[list[str] | None]:
    """Ask with the same key from many threads at the same moment; `None`: it was a conflict."""
    start = Barrier(threads)

    def ask(place: int) -> list[str] | None:
        start.wait()
        try:
            return services.enqueue_many(asked(place), key="k")
        except IdempotencyConflict:
            return None
        finally:
            connections["default"].connection = None  # this thread's; the client is shared

    services._know_queue("default")
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(ask, range(threads)))


@pytest.mark.parametrize("asked", [ONE, MANY])
def test_of_sixteen_callers_at_once_one_stores_and_all_get_its_ids(asked: list[Request]) -> None:
    answers = at_once(lambda place: asked)
    assert answers == [answers[0]] * 16
    assert count() == len(asked)
    assert count("requests") == 1


def test_of_sixteen_different_requests_at_once_one_gets_the_key() -> None:
    answers = at_once(lambda place: [Request(type="echo", payload={"value": place})])
    assert [answer is None for answer in answers].count(False) == 1
    assert count() == count("requests") == 1


# --- what tells requests apart ----------------------------------------------------------------


def echo(value: Any, **chosen: Any) -> list[Request]:
    return [Request(type="echo", payload={"value": value}, **chosen)]


def test_the_order_of_names_and_the_kind_of_a_list_do_not_matter() -> None:
    assert digest(echo({"a": 1, "b": (2,)})) == digest(echo({"b": [2], "a": 1}))
    assert digest(echo(1, tags=("x",))) == digest(echo(1, tags=["x"]))
    assert digest(echo({"x", "y", "z"})) == digest(echo({"z", "y", "x"}))


def test_every_value_of_a_request_matters() -> None:
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    asked = [
        *(echo(value) for value in (None, 0, False, "0", [0], [[0]], {"0": 0}, {"a": "b"}, moment)),
        *(echo(0, **chosen) for chosen in ({"queue": "q"}, {"max_attempts": 2}, {"tags": ["t"]})),
        *(echo(0, **chosen) for chosen in ({"delay": 1}, {"run_at": moment}, {"priority": "low"})),
        [Request(type="urgent", payload={"value": 0})],
    ]
    assert len({digest(each) for each in asked}) == len(asked)


def test_a_default_that_differs_each_time_does_not_make_another_request() -> None:
    @job(name="stamped")
    def stamped(stamp: str = Field(default_factory=lambda: str(ObjectId()))) -> None: ...

    keyed = stamped.options(idempotency_key="k")
    assert keyed.enqueue() == keyed.enqueue()
