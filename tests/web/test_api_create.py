"""POST /api/v1/jobs/."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections
from pymongo import MongoClient

from jobs import clients, lanes
from jobs.registry import Lane
from tests.web.actors import MAIL, Api, api, fields, problem, stored, user

pytestmark = pytest.mark.usefixtures("stores")


def test_a_submitted_job_is_stored_and_in_its_lane() -> None:
    answer = api().post("jobs/", {"type": "send_email", "payload": MAIL})
    assert answer.status_code == 201
    job = answer.json()
    assert job["status"] == "pending"
    assert job["payload"] == {**MAIL, "body": ""}
    assert [str(id) for id in lanes.head(Lane("default", "high"), 5)] == [job["id"]]


def test_every_option_is_taken_over() -> None:
    options = {"priority": "low", "queue": "mail", "max_attempts": 7, "tags": ["a", "b"]}
    job = api().post("jobs/", {"type": "send_email", "payload": MAIL, **options}).json()
    assert {name: job[name] for name in options} == options


def test_null_options_mean_what_the_job_type_says() -> None:
    options = dict.fromkeys(["priority", "queue", "max_attempts", "delay", "run_at"])
    job = api().post("jobs/", {"type": "send_email", "payload": MAIL, **options}).json()
    assert (job["priority"], job["queue"], job["max_attempts"]) == ("high", "default", 4)


def test_a_delay_or_a_time_schedules_the_job_and_times_are_utc() -> None:
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    local = due.astimezone(tz=datetime.strptime("+0530", "%z").tzinfo).isoformat()
    delayed = api().post("jobs/", {"type": "send_email", "payload": MAIL, "delay": 60}).json()
    timed = api().post("jobs/", {"type": "send_email", "payload": MAIL, "run_at": local}).json()
    assert (delayed["status"], timed["status"]) == ("scheduled", "scheduled")
    assert timed["run_at"] == due.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_time_without_a_zone_is_refused() -> None:
    body = {"type": "send_email", "payload": MAIL, "run_at": "2026-11-24T12:00:00"}
    assert fields(api().post("jobs/", body)) == ["run_at"]


def test_without_its_slash_the_address_works_as_well() -> None:
    answer = api().post("jobs", {"type": "send_email", "payload": MAIL})
    assert answer.status_code == 201
    assert stored() == 1


def test_redis_being_away_does_not_stop_a_job(settings: object) -> None:
    caller = api()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"  # type: ignore[attr-defined]
    answer = caller.post("jobs/", {"type": "send_email", "payload": MAIL})
    assert answer.status_code == 201
    assert stored() == 1


@pytest.fixture
def away() -> object:
    """A database at a port where nothing listens."""
    with MongoClient("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=100) as client:
        yield client["away"]


def test_mongodb_failing_at_the_write_is_a_503_that_says_when_to_try_again(
    monkeypatch: pytest.MonkeyPatch, away: object
) -> None:
    caller = api()
    monkeypatch.setattr(clients, "mongo", lambda: away)
    answer = caller.post("jobs/", {"type": "send_email", "payload": MAIL})
    body = problem(answer, 503)
    assert body["code"] == "store_down"
    assert "unknown" in body["detail"]
    assert "127.0.0.1" not in body["detail"]
    assert int(answer["Retry-After"]) > 0


def test_mongodb_failing_before_the_token_is_known_is_a_503_too(
    monkeypatch: pytest.MonkeyPatch, away: object
) -> None:
    caller = Api(user("operator"))
    monkeypatch.setitem(connections["default"].__dict__, "database", away)
    for accept in ("*/*", "text/html"):
        answer = caller.client.get("/api/v1/jobs/", headers={"Accept": accept})
        assert problem(answer, 503)["code"] == "store_down"
