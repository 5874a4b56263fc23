"""Dead letters: the list, the preview and the requeue of exactly what was previewed."""

import pytest
from django.contrib.auth.models import Permission
from django.core import signing

from jobs import roles, selectors
from tests.web.actors import api, dead, fields, problem, submitted

pytestmark = pytest.mark.usefixtures("stores")


def test_the_list_holds_dead_letters_only_and_can_be_narrowed() -> None:
    caller = api("viewer")
    submitted()
    other, mail = dead(), dead(queue="mail")
    assert [job["id"] for job in caller.get("dead/").json()["results"]] == [mail, other]
    assert [job["id"] for job in caller.get("dead/", queue="mail").json()["results"]] == [mail]
    assert fields(caller.get("dead/", status="pending")) == ["status"]


def test_what_died_after_the_preview_stays_dead() -> None:
    caller = api()
    previewed = [dead(), dead()]
    preview = caller.post("dead/preview/").json()
    assert preview["count"] == 2
    assert [job["id"] for job in preview["sample"]] == previewed[::-1]
    later = dead()
    answer = caller.post("dead/requeue/", {"token": preview["token"]})
    assert (answer.json()["requeued"], answer.json()["state"]) == (2, "completed")
    assert [job["id"] for job in caller.get("dead/").json()["results"]] == [later]


def test_a_token_used_twice_does_nothing_more() -> None:
    caller = api()
    dead()
    token = caller.post("dead/preview/").json()["token"]
    assert caller.post("dead/requeue/", {"token": token}).json()["requeued"] == 1
    assert caller.post("dead/requeue/", {"token": token}).json()["requeued"] == 0


def test_a_selection_spares_the_others() -> None:
    caller = api()
    spared = dead()
    dead(queue="mail")
    preview = caller.post("dead/preview/", {"type": "send_email", "queue": "mail"}).json()
    assert preview["count"] == 1
    caller.post("dead/requeue/", {"token": preview["token"]})
    assert [job["id"] for job in caller.get("dead/").json()["results"]] == [spared]


@pytest.mark.parametrize("action", ["delete", "cancel"])
def test_a_token_of_another_action_is_refused_and_touches_no_job(action: str) -> None:
    caller = api("admin")
    id = dead()
    body = {"action": action, "filter": {"status": "dead"}}
    token = caller.post("operations/preview/", body).json()["token"]
    assert fields(caller.post("dead/requeue/", {"token": token})) == ["token"]
    assert [job["id"] for job in caller.get("dead/").json()["results"]] == [id]
    assert caller.get("operations/").json()["results"] == []


def test_a_token_that_is_forged_widened_or_missing_is_refused() -> None:
    caller = api()
    dead(queue="mail")
    token = caller.post("dead/preview/", {"queue": "mail"}).json()["token"]
    other_salt = signing.dumps({"until": "2100-01-01T00:00:00+00:00"}, salt="x")
    for bad in ("", "x", token[:-1], token.partition(":")[2], other_salt):
        assert fields(caller.post("dead/requeue/", {"token": bad})) == ["token"]
    for body in ({}, {"token": None}, {"token": {"$gt": ""}}):
        assert fields(caller.post("dead/requeue/", body)) == ["token"]
    assert len(caller.get("dead/").json()["results"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"type": {"$gt": ""}}, "type"),
        ({"queue": None}, "queue"),
        ({"queue": "$ne"}, "queue"),
        ({"status": "completed"}, "status"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(body: object, field: str) -> None:
    assert fields(api().post("dead/preview/", body)) == [field]


def test_bulk_alone_requeues_nothing() -> None:
    id, caller = dead(), api("operator")
    token = caller.post("dead/preview/").json()["token"]
    roles.group("operator").permissions.remove(Permission.objects.get(codename="retry"))
    assert problem(caller.post("dead/preview/"), 403)
    assert problem(caller.post("dead/requeue/", {"token": token}), 403)
    assert problem(caller.post("operations/", {"token": token}), 403)
    assert selectors.job(id).status == "dead"
