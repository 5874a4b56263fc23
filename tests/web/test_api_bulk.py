"""POST /api/v1/jobs/bulk/: all or nothing."""

import json

import pytest

from tests.web.actors import MAIL, api, fields, problem, stored

pytestmark = pytest.mark.usefixtures("stores")
JOB = {"type": "send_email", "payload": MAIL}


def test_a_bulk_answers_ids_in_the_order_of_its_jobs() -> None:
    caller = api()
    wanted = ["high", "low", "medium"]
    answer = caller.post("jobs/bulk/", {"jobs": [{**JOB, "priority": name} for name in wanted]})
    assert answer.status_code == 201
    ids = answer.json()["ids"]
    assert [caller.get(f"jobs/{id}/").json()["priority"] for id in ids] == wanted


def test_ten_thousand_jobs_are_taken() -> None:
    caller = api()
    answer = caller.post("jobs/bulk/", {"jobs": [JOB] * 10_000})
    assert answer.status_code == 201
    assert len(set(answer.json()["ids"])) == stored() == 10_000


@pytest.mark.parametrize("count", [0, 10_001])
def test_none_and_too_many_are_refused(count: int) -> None:
    assert fields(api().post("jobs/bulk/", {"jobs": [JOB] * count})) == ["jobs"]
    assert stored() == 0


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"type": "nope", "payload": {}}, "jobs.1.type"),
        ({"type": "send_email", "payload": {"to": "x", "subject": "s"}}, "jobs.1.payload.to"),
        ({**JOB, "colour": "red"}, "jobs.1.colour"),
        ({**JOB, "priority": {"$gt": ""}}, "jobs.1.priority"),
        ({**JOB, "delay": -1}, "jobs.1.delay"),
        ([], "jobs.1"),
        (None, "jobs.1"),
    ],
)
def test_one_bad_job_refuses_all_and_is_named(bad: object, field: str) -> None:
    assert fields(api().post("jobs/bulk/", {"jobs": [JOB, bad, JOB]})) == [field]
    assert stored() == 0


def test_one_payload_over_its_limit_refuses_all() -> None:
    large = {"type": "send_email", "payload": {**MAIL, "body": "x" * 1_100_000}}
    assert problem(api().post("jobs/bulk/", {"jobs": [JOB, large]}), 413)["code"] == "too_large"
    assert stored() == 0


def test_a_body_over_the_limit_is_refused_whatever_its_length_says(settings: object) -> None:
    settings.BULK_MAX_BYTES = 2000  # type: ignore[attr-defined]
    body = json.dumps({"jobs": [JOB] * 100})
    caller = api()
    assert problem(caller.post("jobs/bulk/", body), 413)["code"] == "too_large"
    understated = caller.post("jobs/bulk/", body, CONTENT_LENGTH="20")
    assert understated.status_code == 400
    assert stored() == 0
