"""What a payload may hold, the same at every way in: refused with its field, or kept as it is."""

import json
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from bson import ObjectId
from django.core.management import CommandError, call_command
from django.test import Client

from jobs import registry, repository, requests, selectors, services
from jobs.errors import InvalidRequest
from tests.web.actors import api, fields, stored

NAME = "payload_probe"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def named(count: int) -> dict[str, int]:
    return {f"n{number}": number for number in range(count)}


# The payload itself is an object, and `value` in it: two of the levels and one of the names.
REFUSED = {
    "too deep": nested(requests.MAX_DEPTH),
    "too many names": named(requests.MAX_NAMES),
    "too long a name": {"x" * (requests.MAX_NAME_LENGTH + 1): 1},
    "NUL in a name": {"a\0b": 1},
    "whole number": 2**63,
    "half a character": "\ud800",
    "half a character in a name": {"\udfff": 1},
}
NO_JSON = {"NaN": float("nan"), "infinity": float("-inf")}
KEPT = {
    "deep": nested(requests.MAX_DEPTH - 1),
    "many names": named(requests.MAX_NAMES - 1),
    "a long name": {"x" * requests.MAX_NAME_LENGTH: 1},
    "operators": {"$where": "sleep(1)", "$gt": {"$ne": None}, "$set": {"status": "completed"}},
    "paths": {"a.b": 1, ".": 2, "a.$[].b": 3, "": 4, "$": 5},
    "references": ["$payload", "$$ROOT", "$$NOW", {"$literal": "$status"}],
    "prototypes": {"__proto__": {"x": 1}, "constructor": 2, "__class__": "{{ 7*7 }}"},
    "whole number": -(2**63),
    "NUL in a text": "a\0b",
}


@pytest.fixture(autouse=True)
def _anything(stores: str) -> Iterator[None]:
    @registry.job(name=NAME)
    def run(value: Any = None) -> None: ...

    yield
    registry._types.pop(NAME)


def body(value: Any) -> dict[str, Any]:
    return {"type": NAME, "payload": {"value": value}}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_it_is_refused_by_the_api(value: Any) -> None:
    assert fields(api().post("jobs/", body(value))) == ["payload"]
    many = {"jobs": [body(1), body(value), body(2)]}
    assert fields(api().post("jobs/bulk/", many)) == ["jobs.1.payload"]
    assert stored() == 0


@pytest.mark.parametrize("value", [*REFUSED.values(), *NO_JSON.values()], ids=[*REFUSED, *NO_JSON])
def test_it_is_refused_in_python(value: Any) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        services.enqueue(NAME, {"value": value})
    assert [fault.field.split(".")[0] for fault in refusal.value.errors] == ["payload"]
    assert stored() == 0


@pytest.mark.parametrize("value", [*REFUSED.values(), *NO_JSON.values()], ids=[*REFUSED, *NO_JSON])
def test_it_is_refused_in_a_shell(value: Any) -> None:
    with pytest.raises(CommandError, match="payload"):
        call_command("enqueue", NAME, "--payload", json.dumps({"value": value}))
    assert stored() == 0


@pytest.mark.parametrize("value", [*REFUSED.values(), *NO_JSON.values()], ids=[*REFUSED, *NO_JSON])
def test_it_is_refused_on_the_page(client_of: Callable[..., Client], value: Any) -> None:
    filled = {"type": NAME, "payload.value": json.dumps(value)}
    answer = client_of("operator").post("/jobs/new/", filled)
    assert answer.status_code == 400
    assert stored() == 0


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT)
def test_it_is_data_from_the_request_to_the_result(
    client_of: Callable[..., Client], value: Any
) -> None:
    caller = api()
    made = caller.post("jobs/", body(value)).json()
    assert made["payload"] == {"value": value}
    worker = ObjectId()
    (claimed,) = repository.claim([ObjectId(made["id"])], worker)
    assert claimed.payload == {"value": value}
    end = services.completion(claimed, started=0.0, ended=1.0, result={"value": value})
    assert services.record(worker, [end]) == []
    shown = caller.get(f"jobs/{made['id']}/").json()
    assert (shown["status"], shown["result"]) == ("completed", {"value": value})
    assert client_of("viewer").get(f"/jobs/{made['id']}/").status_code == 200
    assert client_of("admin").get("/jobs/").status_code == 200
    assert selectors.job(made["id"]).payload == {"value": value}


def test_a_shell_prints_the_id_of_what_is_kept() -> None:
    out = StringIO()
    payload = json.dumps({"value": KEPT["operators"]})
    call_command("enqueue", NAME, "--payload", payload, stdout=out)
    assert selectors.job(out.getvalue().strip()).payload == {"value": KEPT["operators"]}
