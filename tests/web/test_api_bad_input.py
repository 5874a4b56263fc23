"""What must never be stored, and never be a 500."""

import json

import pytest
from django.core.exceptions import RequestDataTooBig
from django.test import RequestFactory

from jobs import problems, registry
from jobs.clients import collection
from tests.web.actors import MAIL, api, fields, problem, stored

pytestmark = pytest.mark.usefixtures("stores")
GOOD = {"type": "send_email", "payload": MAIL}


@pytest.fixture
def anything() -> object:
    """A job type that takes any JSON value."""

    @registry.job(name="anything")
    def anything(value: object = None, mapping: dict[str, object] | None = None) -> None: ...

    yield
    del registry._types["anything"]


@pytest.fixture(autouse=True)
def nothing_stored() -> object:
    yield
    assert stored() == 0
    assert collection("queues").count_documents({}) == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"type": "nope"}, ["type"]),
        ({"type": "x" * 5000}, ["type"]),
        ({"type": {"$gt": ""}}, ["type"]),
        ({"type": None}, ["type"]),
        ({"type": "\ud800"}, ["type"]),
        ({"payload": {"to": "a@example.org"}}, ["payload.subject"]),
        ({"payload": {**MAIL, "colour": "red"}}, ["payload.colour"]),
        ({"payload": {**MAIL, "body": 5}}, ["payload.body"]),
        ({"payload": {**MAIL, "body": {"$gt": ""}}}, ["payload.body"]),
        ({"payload": {**MAIL, "body": "\ud800"}}, ["payload"]),
        ({"payload": {**MAIL, "a\0b": 1}}, ["payload.a\0b"]),
        ({"payload": []}, ["payload"]),
        ({"payload": "{}"}, ["payload"]),
        ({"payload": None}, ["payload"]),
        ({"colour": "red"}, ["colour"]),
        ({"$where": "1"}, ["$where"]),
        ({"priority": {"$gt": ""}}, ["priority"]),
        ({"priority": "urgent"}, ["priority"]),
        ({"priority": 1}, ["priority"]),
        ({"queue": ""}, ["queue"]),
        ({"queue": "a b"}, ["queue"]),
        ({"queue": 5}, ["queue"]),
        ({"queue": "x" * 65}, ["queue"]),
        ({"delay": "x"}, ["delay"]),
        ({"delay": "5"}, ["delay"]),
        ({"delay": True}, ["delay"]),
        ({"delay": -1}, ["delay"]),
        ({"delay": 2**70}, ["delay"]),
        ({"delay": 10**400}, ["delay"]),
        ({"delay": [1]}, ["delay"]),
        ({"run_at": 1732449600}, ["run_at"]),
        ({"run_at": "1732449600"}, ["run_at"]),
        ({"run_at": "tomorrow"}, ["run_at"]),
        ({"run_at": "9999-12-31T23:59:59-12:00"}, ["run_at"]),
        ({"run_at": "2026-11-24T12:00:00Z", "delay": 5}, ["delay"]),
        ({"max_attempts": 0}, ["max_attempts"]),
        ({"max_attempts": 2**70}, ["max_attempts"]),
        ({"max_attempts": 2.5}, ["max_attempts"]),
        ({"max_attempts": True}, ["max_attempts"]),
        ({"max_attempts": "3"}, ["max_attempts"]),
        ({"tags": "a"}, ["tags"]),
        ({"tags": None}, ["tags"]),
        ({"tags": {"a": 1}}, ["tags"]),
        ({"tags": [5]}, ["tags.0"]),
        ({"tags": [{"$gt": ""}]}, ["tags.0"]),
        ({"tags": ["a b"]}, ["tags"]),
        ({"tags": ["a"] * 11}, ["tags"]),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_its_field_named(
    change: dict[str, object], named: list[str]
) -> None:
    assert fields(api().post("jobs/", GOOD | change)) == named


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nope",
        b'{"type": "send_email",}',
        b'{"type": "a", "type": "send_email"}',
        b'{"x": NaN}',
        b'{"x": -Infinity}',
        b'{"x": 1e999}',
        b'{"x": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"1" * 5_000,
        b" ",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    assert problem(api().post("jobs/", body), 400)["code"] == "malformed"


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true"])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    assert fields(api().post("jobs/", body)) == ["body"]


def test_an_empty_body_says_what_is_missing() -> None:
    assert fields(api().post("jobs/", b"")) == ["type", "payload"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
)
def test_another_content_type_is_refused(content_type: str) -> None:
    answer = api().post("jobs/", json.dumps(GOOD), content_type=content_type)
    assert problem(answer, 415)["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "value",
    [
        '{"\\ud800": 1}',
        '"\\ud800"',
        str(2**70),
        str(-(2**63) - 1),
        '{"a\\u0000b": 1}',
        "[" * 60 + "]" * 60,
        "[" * 300 + "]" * 300,
        "[" * 900 + "]" * 900,
    ],
    ids=lambda value: value[:20],
)
@pytest.mark.parametrize("name", ["value", "mapping"])
@pytest.mark.usefixtures("anything")
def test_what_mongodb_cannot_hold_is_refused(name: str, value: str) -> None:
    inner = value if name == "value" else f'{{"k": {value}}}'
    answer = api().post("jobs/", f'{{"type": "anything", "payload": {{"{name}": {inner}}}}}')
    assert problem(answer, 400)["code"] in ("invalid", "malformed")


def test_a_body_of_five_megabytes_is_refused_before_it_is_read() -> None:
    large = {"type": "send_email", "payload": {**MAIL, "body": "x" * 5_000_000}}
    assert problem(api().post("jobs/", large), 413)["code"] == "too_large"


def test_a_payload_over_its_limit_is_refused() -> None:
    large = {"type": "send_email", "payload": {**MAIL, "body": "x" * 1_100_000}}
    assert fields(api().post("jobs/", large), 413) == ["payload"]


def test_djangos_own_limit_is_a_413_too() -> None:
    context = {"request": RequestFactory().post("/api/v1/jobs/")}
    answer = problems.handle(RequestDataTooBig("over"), context)
    assert answer is not None
    assert (answer.status_code, answer.data["code"]) == (413, "too_large")


def test_a_chunked_body_is_refused_and_not_taken_for_empty() -> None:
    answer = api().client.generic(
        "POST", "/api/v1/jobs/", b"", "application/json", headers={"Transfer-Encoding": "chunked"}
    )
    assert problem(answer, 411)["code"] == "length_required"


@pytest.mark.parametrize(
    "path", ["", "nope/", "nope", "v2/jobs/", "v1/nope/", "v1/jobs/a/b/c/", "v1//", "../x/%00"]
)
def test_an_unknown_address_is_a_404_for_everybody(path: str) -> None:
    caller = api()
    if path:
        problem(caller.client.get(f"/api/{path}"), 404)
        problem(caller.client.post(f"/api/{path}", b"{", content_type="application/json"), 404)


def test_a_method_that_an_address_does_not_have_is_a_405() -> None:
    caller = api()
    assert problem(caller.client.delete("/api/v1/jobs/"), 405)["code"] == "method_not_allowed"
    assert problem(caller.get("jobs/bulk/"), 405)


def test_an_answer_that_nobody_offers_is_a_406() -> None:
    answer = api().client.get("/api/v1/jobs/", headers={"Accept": "image/png"})
    assert problem(answer, 406)["code"] == "not_acceptable"
    assert problem(api().get("jobs/", format="xml"), 404)


def test_what_nobody_expected_is_a_500_without_a_trace() -> None:
    answer = problems.server_error(RequestFactory().get("/api/v1/jobs/"))
    assert problem(answer, 500)["code"] == "internal"
    page = problems.server_error(RequestFactory().get("/jobs/"))
    assert page["Content-Type"].startswith("text/html")
