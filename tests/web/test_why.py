"""Why a job is not running, as the stores say it: by API, page and command."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from bson import ObjectId
from django.core.management import CommandError, call_command
from django.test import Client
from redis import Redis

from jobs import clients, counts, lanes, mongodb, services
from jobs.clients import collection
from jobs.registry import Lane
from jobs.requests import Request
from tests.web.actors import Api, api, problem, user
from tests.web.conftest import NAME, Line

OTHER = {"supervisor": ObjectId(), "host": "b", "pid": 8, "concurrency": 1, "version": "9.9"}


def why(id: str) -> dict[str, Any]:
    answer = api("viewer").get(f"jobs/{id}/why/")
    assert answer.status_code == 200
    counts.forget()
    found: dict[str, Any] = json.loads(answer.content)
    return found


def codes(id: str) -> list[str]:
    counts.forget()
    return [block["code"] for block in why(id)["blocks"]]


def knows(line: Line, **facts: Any) -> None:
    collection("workers").update_one({"_id": line.worker}, {"$set": facts})


def test_the_jobs_before_it_are_counted_lane_by_lane(line: Line) -> None:
    before = [line.pending(priority="high") for _ in range(2)]
    id, _after = line.pending(priority="low"), line.pending(priority="low")
    elsewhere = line.pending(queue="mail", priority="high")
    found = why(id)
    assert found["ahead"] == 2
    assert found["lanes"] == [{"queue": "default", "priority": "high", "jobs": 2, "capped": False}]
    assert why(before[0])["ahead"] == 0
    assert why(elsewhere)["ahead"] == 0


def test_of_jobs_enqueued_together_the_place_is_by_id(line: Line) -> None:
    ids = services.enqueue_many([Request(type=NAME, payload={})] * 5)
    assert [why(id)["ahead"] for id in ids] == [0, 1, 2, 3, 4]


def test_an_estimate_follows_from_what_ended_lately(line: Line) -> None:
    for _ in range(3):
        line.completed()
    line.pending()
    found = why(line.pending())
    assert found["estimate_seconds"] > 0
    assert found["basis"].startswith("1 job ahead, ")


def test_a_paused_queue_says_by_whom(line: Line) -> None:
    id = line.pending()
    services.pause("default", actor="ada", reason="the mail server is down")
    found = why(id)
    assert found["blocks"][0]["code"] == "paused"
    assert "by ada since" in found["summary"]
    assert found["summary"].endswith(": the mail server is down")
    assert found["estimate_seconds"] is None


def test_no_worker_a_worker_of_other_queues_and_a_quiet_one(line: Line) -> None:
    id = line.pending()
    assert codes(id) == []
    knows(line, quiet=True)
    assert codes(id) == ["quiet"]
    knows(line, quiet=False, queues=["mail"])
    assert codes(id) == ["no_worker"]
    services.end_worker(line.worker, "stopped")
    assert codes(id) == ["no_worker"]


def test_a_type_that_its_workers_do_not_know(line: Line) -> None:
    id = line.pending()
    knows(line, types=["send_email"])
    assert codes(id) == ["unknown_type"]
    knows(line, types=["send_email", NAME])
    assert codes(id) == []


def test_a_scheduled_and_a_retrying_job_say_until_when(line: Line) -> None:
    assert codes(line.pending(delay=3600)) == ["scheduled"]
    assert codes(line.failed()) == ["backoff"]


def test_an_id_that_redis_has_lost(line: Line) -> None:
    line.pending()
    id = line.pending()
    clients.redis().delete(lanes.key(Lane("default", "medium")))
    assert codes(id) == ["not_in_lane"]
    services.repair("default")
    # Repair leaves alone what is younger than its grace.
    lanes.push([services.Hint(ObjectId(id), Lane("default", "medium"))])
    assert codes(id) == []


def test_an_id_behind_many_stale_ones_is_not_said_to_be_lost(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = Lane("default", "medium")
    monkeypatch.setattr("jobs.why.SOUGHT", 3)
    lanes.push([services.Hint(ObjectId(), lane) for _ in range(4)])
    assert codes(line.pending()) == []


def test_redis_down_is_said_and_nothing_fails(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    id = line.pending()
    monkeypatch.setattr(lanes, "redis", lambda: Redis(port=1))  # where nobody listens
    assert codes(id) == ["redis_down"]


def test_a_slot_that_is_busy(line: Line) -> None:
    line.running()
    found = why(line.pending())
    assert [block["code"] for block in found["blocks"]] == ["busy"]
    assert "as soon as a busy slot is free" in found["summary"]


def test_slots_are_busy_though_another_worker_holds_a_batch(line: Line) -> None:
    services.register_worker(other := ObjectId(), ["mail"], **OTHER)
    taken = {"type": NAME, "status": "running", "queue": "mail", "priority": "medium"}
    held = {**taken, "worker": other, "started_at": mongodb.now() - timedelta(minutes=1)}
    collection("jobs").insert_many([{**held, "_id": ObjectId()} for _ in range(600)])
    line.running()
    found = why(line.pending())
    assert [block["code"] for block in found["blocks"]] == ["busy"]
    assert "a slot is free" not in found["basis"]


@pytest.mark.parametrize("state", ["running", "completed", "dead"])
def test_what_does_not_wait_says_so(line: Line, state: str) -> None:
    found = why(getattr(line, state)())
    assert (found["waits"], found["blocks"]) == (False, [])
    assert state in found["summary"]


def test_a_token_of_other_queues_does_not_learn_of_it(line: Line) -> None:
    bound = Api(user("viewer"), queues=["mail"])
    hers, nobodys = line.pending(), str(ObjectId())
    for path in ("jobs/{}/why/", "jobs/{}/"):
        refused = [problem(bound.get(path.format(id)), 404)["detail"] for id in (hers, nobodys)]
        assert refused[0].replace(hers, nobodys) == refused[1]
    problem(api("viewer").get(f"jobs/{ObjectId()}/why/"), 404)
    problem(api("viewer").get("jobs/nonsense/why/"), 400)


def test_a_token_of_some_queues_learns_no_name_of_another(line: Line) -> None:
    bound = Api(user("viewer"), queues=["mail"])
    knows(line, queues=["payroll", "mail"])
    line.pending(queue="payroll")
    id = line.pending(queue="mail")
    found = bound.get(f"jobs/{id}/why/")
    assert found.json()["ahead"] == 1
    assert found.json()["blocks"][0]["text"].endswith("hold jobs: 1 in other queues.")
    knows(line, queues=["payroll"])
    answers = found.content, bound.get(f"jobs/{id}/why/").content
    assert b"no_worker" in answers[1]
    assert all(b"payroll" not in answer for answer in answers)
    assert b"payroll" in api("viewer").get(f"jobs/{id}/why/").content


def test_the_page_says_it_while_the_job_waits(operator: Client, line: Line) -> None:
    line.pending(priority="high")
    id = line.pending(priority="low")
    page = operator.get(f"/jobs/{id}/").content.decode()
    assert "Why is it not running?" in page
    assert "It waits its turn: 1 job ahead of it." in page
    page = operator.get(f"/jobs/{line.completed()}/").content.decode()
    assert "Why is it not running?" not in page


def test_the_command_says_the_same(line: Line) -> None:
    id, output = line.pending(delay=3600), StringIO()
    call_command("why", id, stdout=output)
    said = output.getvalue()
    assert "It is not due before" in said
    assert "scheduled:" in said
    assert "Estimate: about 1 h" in said or "Estimate: about 59 m" in said
    with pytest.raises(CommandError, match="There is no job"):
        call_command("why", str(ObjectId()))


def test_the_command_does_to_a_job_what_its_page_does(line: Line) -> None:
    id, output = line.pending(delay=3600), StringIO()
    for action in ("run", "cancel", "requeue", "cancel", "delete"):
        call_command("job", action, id, stdout=output)
    assert output.getvalue().split("\n")[-2] == f"Job {id} is deleted."
    with pytest.raises(CommandError, match=r"Nothing was changed\. There is no job"):
        call_command("job", "run", id)
    with pytest.raises(CommandError, match="only what is"):
        call_command("job", "run", line.pending())
