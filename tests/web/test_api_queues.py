"""The system: stats, queues, workers, types."""

from datetime import datetime, timedelta
from typing import Any

import jsonschema
import pytest
from bson import ObjectId

from jobs import counts, mongodb, services
from tests.web.actors import MAIL, api, dead, fields, problem, submitted

pytestmark = pytest.mark.usefixtures("stores")


def test_stats_count_by_state_and_by_lane() -> None:
    dead()
    submitted()
    submitted(queue="mail", priority="low")
    counts.forget()
    stats = api("viewer").get("stats/").json()
    assert stats["total"] == 3
    assert (stats["by_status"]["pending"], stats["by_status"]["dead"]) == (2, 1)
    depths = {(lane["queue"], lane["priority"]): lane["depth"] for lane in stats["lanes"]}
    assert depths["mail", "low"] == depths["default", "high"] == 1
    assert depths["default", "low"] == 0


def test_the_last_minutes_say_what_was_accepted_and_how_it_ended() -> None:
    dead()  # it failed after a second
    dead(queue="mail")
    caller = api("viewer")
    lately = caller.get("stats/minutes/", minutes=5).json()
    assert len(lately["minutes"]) == 5
    assert sum(minute["accepted"] for minute in lately["minutes"]) == 2
    assert sum(minute["outcomes"]["failed"] for minute in lately["minutes"]) == 2
    assert 700 < lately["ran_ms"]["p50"] <= 1500
    of_mail = caller.get("stats/minutes/", minutes=5, queue="mail", type="send_email").json()
    assert sum(minute["outcomes"]["failed"] for minute in of_mail["minutes"]) == 1
    of_none = caller.get("stats/minutes/", queue="other").json()
    assert of_none["ran_ms"] == {"p50": None, "p95": None, "p99": None}


@pytest.mark.parametrize(
    ("query", "field"), [("minutes=0", "minutes"), ("minutes=x", "minutes"), ("a=1", "a")]
)
def test_a_bad_question_about_minutes_is_named(query: str, field: str) -> None:
    assert fields(api().get(f"stats/minutes/?{query}")) == [field]


def test_a_queue_is_paused_by_a_person_and_resumed() -> None:
    submitted(queue="mail")
    caller = api()
    paused = caller.post("queues/mail/pause/").json()
    assert paused["paused_at"].endswith("Z")
    assert paused["paused_by"].startswith("operator")
    assert caller.get("queues/").json()["results"] == [paused]
    assert caller.post("queues/mail/resume/").json()["paused_at"] is None


def test_a_queue_says_how_far_behind_it_is() -> None:
    submitted(queue="mail", priority="low")
    dead(queue="mail")
    counts.forget()
    found = api("viewer").get("queues/mail/backlog/").json()
    assert (found["queue"], found["workers"], found["drain_seconds"]) == ("mail", 0, None)
    assert {name: jobs for name, jobs in found["by_status"].items() if jobs} == {
        "pending": 1,
        "dead": 1,
    }
    lanes = {lane["priority"]: lane for lane in found["lanes"]}
    assert (lanes["low"]["depth"], lanes["low"]["late"]) == (1, False)
    assert (lanes["high"]["oldest"], lanes["high"]["target_seconds"]) == (None, 60.0)
    assert problem(api("viewer").get("queues/nope/backlog/"), 404)["code"] == "not_found"


@pytest.mark.parametrize("act", ["pause", "resume"])
@pytest.mark.parametrize("name", ["nope", "$ne", "é", "a b"])
def test_an_unknown_queue_is_not_found(name: str, act: str) -> None:
    assert problem(api().post(f"queues/{name}/{act}/"), 404)["code"] == "not_found"


def test_a_pause_has_a_reason_and_an_end() -> None:
    submitted()
    caller = api()
    paused = caller.post("queues/default/pause/", {"reason": "deploying", "seconds": 600}).json()
    assert paused["paused_reason"] == "deploying"
    lasts = datetime.fromisoformat(paused["paused_until"]) - mongodb.now()
    assert timedelta(seconds=570) < lasts <= timedelta(seconds=600)
    until = (mongodb.now() + timedelta(days=1)).isoformat()
    paused = caller.post("queues/default/pause/", {"until": until}).json()
    assert paused["paused_reason"] is None
    assert datetime.fromisoformat(paused["paused_until"]) > mongodb.now() + timedelta(hours=23)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"why": "x"}, "why"),
        ({"reason": "x" * 201}, "reason"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": "60"}, "seconds"),
        ({"until": "2020-01-01T00:00:00Z"}, "until"),
        ({"until": "2090-01-01T00:00:00"}, "until"),
        ({"until": "2090-01-01T00:00:00Z", "seconds": 5}, "body"),
    ],
)
def test_a_bad_pause_names_its_field_and_pauses_nothing(body: dict[str, Any], field: str) -> None:
    submitted()
    assert fields(api().post("queues/default/pause/", body)) == [field]
    assert services.paused_queues() == set()


def test_resuming_takes_no_fields() -> None:
    submitted()
    assert fields(api().post("queues/default/resume/", {"reason": "x"})) == ["reason"]


def test_workers_say_how_they_are_and_what_they_hold() -> None:
    facts = {"supervisor": ObjectId(), "host": "h", "pid": 1, "concurrency": 1, "version": "0"}
    worker = ObjectId()
    services.register_worker(worker, ["default"], **facts)
    (shown,) = api("viewer").get("workers/").json()["results"]
    assert (shown["id"], shown["state"], shown["running"]) == (str(worker), "live", [])


def test_types_carry_the_schema_of_their_payload() -> None:
    types = {each["name"]: each for each in api("viewer").get("types/").json()["results"]}
    schema = types["send_email"]["schema"]
    jsonschema.validate(MAIL, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**MAIL, "colour": "red"}, schema)
    assert types["send_email"]["description"]
