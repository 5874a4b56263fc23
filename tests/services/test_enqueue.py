from datetime import datetime, timedelta
from typing import Any

import bson
import pytest
from bson import ObjectId
from cryptography.fernet import Fernet
from django.test import override_settings

from jobs import clients, encoding, lanes, mongodb, registry, services
from jobs.clients import collection
from jobs.errors import InvalidRequest, TooLarge
from jobs.registry import Lane
from jobs.requests import Request
from tests.services.conftest import stored


def lane(queue: str = "default", priority: str = "medium") -> list[str]:
    """The lane from its head on."""
    ids: list[str] = clients.redis().lrange(lanes.key(Lane(queue, priority)), 0, -1)  # type: ignore[assignment]
    return ids[::-1]


def fields(*requests: Request) -> set[str]:
    with pytest.raises(InvalidRequest) as caught:
        services.enqueue_many(requests)
    assert collection("jobs").count_documents({}) == 0
    return {error.field for error in caught.value.errors}


def test_a_job_is_stored_whole_and_its_id_is_at_the_end_of_its_lane() -> None:
    first = services.enqueue("urgent", {"to": "a"})
    second = services.enqueue("urgent", {"to": "b"}, tags=["x", "x"])
    job = stored(second)
    assert (job["queue"], job["priority"], job["status"]) == ("mail", "high", "pending")
    assert (job["payload"], job["tags"], job["max_attempts"]) == ({"to": "b"}, ["x"], 2)
    assert lane("mail", "high") == [first, second]


def test_what_is_chosen_wins_over_the_job_type() -> None:
    id = services.enqueue("urgent", {"to": "a"}, priority="low", queue="other", max_attempts=9)
    job = stored(id)
    assert (job["priority"], job["queue"], job["max_attempts"]) == ("low", "other", 9)


def test_a_typed_function_enqueues_itself() -> None:
    echo = registry.get("echo")
    assert echo is not None
    assert stored(echo.enqueue(value=[1]))["payload"] == {"value": [1]}
    assert stored(echo.options(priority="low").enqueue(2))["priority"] == "low"


def test_a_delayed_job_is_in_no_lane_until_it_is_due() -> None:
    id = services.enqueue("echo", {}, delay=60)
    job = stored(id)
    assert job["status"] == "scheduled"
    assert job["run_at"] - job["created_at"] == timedelta(seconds=60)
    assert lane() == []
    assert services.promote() == 0


def test_a_time_that_has_passed_is_now() -> None:
    past = mongodb.now() - timedelta(days=1)
    assert stored(services.enqueue("echo", {}, run_at=past))["status"] == "pending"


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"type": "nope"}, "type"),
        ({"payload": {"extra": 1}}, "payload.extra"),
        ({"payload": {"value": 2**70}}, "payload"),
        ({"payload": {"value": {"a\0b": 1}}}, "payload"),
        ({"payload": {"value": "\ud800"}}, "payload"),
        ({"payload": {"value": float("nan")}}, "payload"),
        ({"payload": {"value": object()}}, "payload"),
        ({"priority": "urgent"}, "priority"),
        ({"queue": "a b"}, "queue"),
        ({"queue": ""}, "queue"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 101}, "max_attempts"),
        ({"tags": ["a b"]}, "tags"),
        ({"tags": [str(n) for n in range(11)]}, "tags"),
        ({"delay": -1}, "delay"),
        ({"delay": float("nan")}, "delay"),
        ({"delay": float("inf")}, "delay"),
        ({"delay": 1, "run_at": datetime(2026, 1, 1)}, "delay"),  # noqa: DTZ001
        ({"run_at": datetime(2026, 1, 1)}, "run_at"),  # noqa: DTZ001
    ],
)
def test_bad_input_names_its_field_and_stores_nothing(chosen: dict[str, Any], field: str) -> None:
    assert fields(Request(**{"type": "echo", "payload": {}, **chosen})) == {field}


def test_a_payload_nested_too_deep_is_refused() -> None:
    value: Any = 1
    for _ in range(60):
        value = [value]
    assert fields(Request(type="echo", payload={"value": value})) == {"payload"}


def test_a_payload_over_the_limit_is_too_large() -> None:
    with override_settings(JOB_PAYLOAD_MAX_BYTES=100), pytest.raises(TooLarge, match="limit"):
        services.enqueue("echo", {"value": "x" * 100})
    assert collection("jobs").count_documents({}) == 0


def test_a_payload_of_the_limit_is_accepted_and_a_byte_more_is_not() -> None:
    payload = {"value": "x" * 100}
    limit = len(bson.encode({"": payload}))
    with override_settings(JOB_PAYLOAD_MAX_BYTES=limit):
        services.enqueue("echo", payload)
        with pytest.raises(TooLarge, match=f"{limit + 1} bytes"):
            services.enqueue("echo", {"value": "x" * 101})


def test_a_payload_over_the_limit_among_many_says_which_it_is() -> None:
    large = Request(type="echo", payload={"value": "x" * 100})
    with override_settings(JOB_PAYLOAD_MAX_BYTES=100), pytest.raises(TooLarge) as caught:
        services.enqueue_many([Request(type="echo", payload={}), large])
    assert [error.field for error in caught.value.errors] == ["jobs.1.payload"]


def test_many_are_accepted_together_in_order() -> None:
    ids = services.enqueue_many([Request(type="echo", payload={"value": n}) for n in range(2500)])
    assert lane() == ids
    assert collection("jobs").count_documents({"status": "pending"}) == 2500


@pytest.mark.parametrize(
    ("jobs", "length", "sealed"),
    [(1_000, 900, False), (1_000, 900, True), (1_000, 2_000, True), (20, 900_000, False)],
)
def test_many_are_accepted_whether_or_not_one_command_holds_them(
    jobs: int, length: int, sealed: bool
) -> None:
    keys = [Fernet.generate_key().decode()] if sealed else []
    many = [Request(type="echo", payload={"value": "\x7f" * length})] * jobs
    with override_settings(PAYLOAD_KEYS=keys):
        ids = services.enqueue_many(many)
    assert lane() == ids
    assert collection("jobs").count_documents({"status": "pending"}) == jobs


def test_one_bad_job_among_many_refuses_them_all_and_says_which() -> None:
    good = Request(type="echo", payload={})
    bad = Request(type="echo", payload={"x": 1}, priority="no")
    assert fields(good, bad, good) == {"jobs.1.priority"}


def test_when_the_store_refuses_one_of_many_none_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = ObjectId()
    monkeypatch.setattr(encoding, "ids", lambda count: [ObjectId(), taken, taken])
    with pytest.raises(Exception, match="duplicate key"):
        services.enqueue_many([Request(type="echo", payload={})] * 3)
    assert collection("jobs").count_documents({}) == 0


def test_hostile_keys_and_values_are_kept_as_they_are() -> None:
    value = {"$gt": "", "a.b": {"$where": "1"}, "": None, "__proto__": "</script>"}
    assert stored(services.enqueue("echo", {"value": value}))["payload"]["value"] == value


def test_redis_being_away_does_not_matter() -> None:
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        id = services.enqueue("echo", {})
    assert stored(id)["status"] == "pending"
    assert lane() == []
