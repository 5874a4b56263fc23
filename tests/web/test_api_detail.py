"""GET /api/v1/jobs/{id}/."""

import time

import pytest
from bson import ObjectId

from jobs import repository, services
from tests.web.actors import api, dead, fields, problem, submitted

pytestmark = pytest.mark.usefixtures("stores")


def test_a_job_is_shown_with_its_attempts_and_their_tracebacks() -> None:
    job = api("viewer").get(f"jobs/{dead()}/").json()
    (attempt,) = job["attempts"]
    assert (job["status"], job["error"]) == ("dead", "boom")
    assert attempt["outcome"] == "failed"
    assert attempt["traceback"] == "Traceback: <b>boom</b>"
    assert attempt["started_at"].endswith("Z")
    assert ObjectId.is_valid(attempt["worker"])


def test_a_job_that_nobody_took_has_no_worker() -> None:
    assert api("viewer").get(f"jobs/{submitted()}/").json()["worker"] is None


def test_a_result_that_json_cannot_say_is_shown_as_text() -> None:
    id, worker = submitted(), ObjectId()
    (job,) = repository.claim([ObjectId(id)], worker)
    result = {"mean": float("nan"), "range": [float("-inf"), 1.5], "big": 2**62}
    ended = time.monotonic()
    services.record(worker, [services.completion(job, started=ended, ended=ended, result=result)])
    shown = api("viewer").get(f"jobs/{id}/").json()["result"]
    assert shown == {"mean": "nan", "range": ["-inf", 1.5], "big": 2**62}


@pytest.mark.parametrize("id", ["nope", "0" * 23, "0" * 25, "é" * 12, "g" * 24, "$ne"])
def test_what_is_no_id_is_refused(id: str) -> None:
    assert fields(api("viewer").get(f"jobs/{id}/")) == ["id"]


def test_an_unknown_id_is_not_found() -> None:
    answer = problem(api("viewer").get(f"jobs/{ObjectId()}/"), 404)
    assert answer["code"] == "not_found"
