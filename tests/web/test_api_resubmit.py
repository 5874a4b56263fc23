"""POST /api/v1/jobs/{id}/resubmit/ and PUT /api/v1/dead/groups/{fingerprint}/note/."""

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from bson import ObjectId
from pydantic import SecretStr

from jobs import registry, repository, selectors, services
from jobs.errors import StoreDown
from jobs.models import AuditEntry, GroupNote
from tests.web.actors import MAIL, Api, api, dead, fields, problem, submitted, user
from tests.web.conftest import Line

pytestmark = pytest.mark.usefixtures("stores")


def test_what_is_left_out_stays_as_it_was_and_the_dead_letter_is_seen_to() -> None:
    caller, id = Api(user("operator", "carla")), dead(priority="low", tags=["nightly"])
    answer = caller.post(f"jobs/{id}/resubmit/", {"payload": {**MAIL, "to": "b@example.org"}})
    assert answer.status_code == 201
    new = answer.json()
    assert new["payload"]["to"] == "b@example.org"
    assert (new["status"], new["priority"], new["tags"]) == ("pending", "low", ["nightly"])
    assert (new["copied_from"], new["attempt"]) == (id, 0)
    original = caller.get(f"jobs/{id}/").json()
    assert (original["status"], original["copied_to"]) == ("cancelled", new["id"])
    (entry,) = AuditEntry.objects.filter(action="resubmit")
    assert (entry.actor, entry.target) == ("carla", id)


@pytest.fixture
def login() -> Iterator[str]:
    @registry.job(name="resubmitted_login")
    def run(user: str, password: SecretStr) -> None:
        raise AssertionError("nothing runs here")

    yield "resubmitted_login"
    registry._types.pop("resubmitted_login")


def test_a_secret_stays_without_being_shown(login: str, line: Line) -> None:
    caller = api()
    asked = {"type": login, "payload": {"user": "ann", "password": "hunter2"}}
    id = caller.post("jobs/", asked).json()["id"]
    caller.post(f"jobs/{id}/cancel/")
    answer = caller.post(f"jobs/{id}/resubmit/", {"queue": "slow"})
    assert answer.status_code == 201
    assert b"hunter2" not in answer.content
    new = selectors.job(answer.json()["id"], reveal=True)
    assert (new.queue, new.payload["password"]) == ("slow", "hunter2")


def test_the_same_key_gives_the_same_job_and_one_row_of_the_audit() -> None:
    caller, id = api(), dead()
    first, again = (
        caller.post(f"jobs/{id}/resubmit/", {}, HTTP_IDEMPOTENCY_KEY="k") for _ in range(2)
    )
    assert first.json()["id"] == again.json()["id"]
    assert again["Idempotency-Replayed"] == "true"
    assert AuditEntry.objects.filter(action="resubmit").count() == 1


def test_a_retry_finishes_what_the_first_try_began(monkeypatch: pytest.MonkeyPatch) -> None:
    caller, id, again = api(), dead(), {"HTTP_IDEMPOTENCY_KEY": "k"}
    with monkeypatch.context() as patch:
        patch.setattr(repository, "cancel", Mock(side_effect=StoreDown("gone")))
        problem(caller.post(f"jobs/{id}/resubmit/", {}, **again), 503)
    new = caller.post(f"jobs/{id}/resubmit/", {}, **again).json()["id"]
    original = caller.get(f"jobs/{id}/").json()
    assert (original["status"], original["copied_to"]) == ("cancelled", new)
    assert AuditEntry.objects.filter(action="resubmit").count() == 1
    services.requeue(id, actor="carla")  # a replay does nothing to it any more
    assert caller.post(f"jobs/{id}/resubmit/", {}, **again).json()["id"] == new
    assert caller.get(f"jobs/{id}/").json()["status"] == "pending"


def test_one_key_is_not_for_two_jobs_that_are_alike() -> None:
    caller, first, other, again = api(), dead(), dead(), {"HTTP_IDEMPOTENCY_KEY": "k"}
    assert caller.post(f"jobs/{first}/resubmit/", {}, **again).status_code == 201
    answer = problem(caller.post(f"jobs/{other}/resubmit/", {}, **again), 409)
    assert answer["code"] == "idempotency_conflict"
    assert caller.get(f"jobs/{other}/").json()["status"] == "dead"


def test_a_secret_cannot_be_guessed_by_its_key_and_a_mask_that_comes_back_is_no_secret(
    login: str,
) -> None:
    caller, again = api(), {"HTTP_IDEMPOTENCY_KEY": "k"}
    id = services.enqueue(login, {"user": "ann", "password": "hunter2"})
    services.cancel(id, actor="ada")
    new = caller.post(f"jobs/{id}/resubmit/", {}, **again).json()
    for guess in ("hunter1", "hunter2"):
        asked = {"payload": {"user": "ann", "password": guess}}
        answer = caller.post(f"jobs/{id}/resubmit/", asked, **again)
        assert (answer.status_code, answer.json()["id"]) == (201, new["id"])
    back = {"payload": {**new["payload"], "user": "bob"}}
    id = caller.post(f"jobs/{id}/resubmit/", back).json()["id"]
    assert selectors.job(id, reveal=True).payload == {"user": "bob", "password": "hunter2"}


def test_one_key_is_not_for_two_recipients_that_pydantic_writes_otherwise() -> None:
    caller, id, again = api(), dead(), {"HTTP_IDEMPOTENCY_KEY": "k"}
    first, other = ({"payload": {**MAIL, "to": f"{name}@Example.org"}} for name in ("ann", "bob"))
    new = caller.post(f"jobs/{id}/resubmit/", first, **again).json()["id"]
    assert caller.post(f"jobs/{id}/resubmit/", first, **again).json()["id"] == new
    answer = problem(caller.post(f"jobs/{id}/resubmit/", other, **again), 409)
    assert answer["code"] == "idempotency_conflict"


@pytest.mark.parametrize("levels", [40, 300, 480])
def test_what_is_nested_too_deep_is_refused_as_it_is_in_a_new_job(levels: int) -> None:
    @registry.job(name="resubmitted_any")
    def run(value: Any = None) -> None: ...

    caller, deep = api(), json.loads("[" * levels + "]" * levels)
    id = services.enqueue("resubmitted_any", {})
    services.cancel(id, actor="ada")
    for payload in ({"value": deep}, {"new": deep}):
        new = caller.post("jobs/", {"type": "resubmitted_any", "payload": payload})
        for key in ({}, {"HTTP_IDEMPOTENCY_KEY": "k"}):
            answer = caller.post(f"jobs/{id}/resubmit/", {"payload": payload}, **key)
            assert fields(answer) == fields(new)
    registry._types.pop("resubmitted_any")


def test_what_has_not_ended_and_what_is_wrong_is_refused_and_nothing_is_stored() -> None:
    caller, id, waiting = api(), dead(), submitted()
    assert problem(caller.post(f"jobs/{waiting}/resubmit/"), 409)["code"] == "illegal_move"
    assert fields(caller.post(f"jobs/{id}/resubmit/", {"payload": {"to": 3}}))
    assert fields(caller.post(f"jobs/{id}/resubmit/", {"type": "noop"})) == ["type"]
    problem(caller.post(f"jobs/{ObjectId()}/resubmit/"), 404)
    assert caller.get("jobs/", status="pending").json()["results"][0]["id"] == waiting
    assert caller.get(f"jobs/{id}/").json()["status"] == "dead"


def test_who_may_submit_but_not_requeue_may_not_resubmit() -> None:
    from django.contrib.auth.models import Permission

    who = user(None)
    user("admin")  # with its group come the permissions
    who.user_permissions.set(Permission.objects.filter(codename__in=["view", "submit"]))
    problem(Api(who).post(f"jobs/{dead()}/resubmit/"), 403)


def test_a_scoped_token_resubmits_only_into_its_queues() -> None:
    caller = Api(user("admin"), queues=["mail"])
    problem(caller.post(f"jobs/{dead()}/resubmit/"), 404)
    id = dead(queue="mail")
    assert fields(caller.post(f"jobs/{id}/resubmit/", {"queue": "default"}), 403) == ["queue"]
    assert caller.post(f"jobs/{id}/resubmit/").json()["queue"] == "mail"


def test_a_note_is_written_changed_and_deleted() -> None:
    caller = Api(user("operator", "carla"))
    dead()
    (group,) = caller.get("dead/groups/").json()["results"]
    path = f"/api/v1/dead/groups/{group['fingerprint']}/note/"

    def put(text: str) -> int:
        sent = json.dumps({"note": text})
        return caller.client.put(path, sent, content_type="application/json").status_code

    assert put("the mail host is away") == 204
    (group,) = caller.get("dead/groups/").json()["results"]
    assert (group["note"]["text"], group["note"]["actor"]) == ("the mail host is away", "carla")
    assert put("") == 204
    assert not GroupNote.objects.exists()
    assert put("x" * 100_000) == put("half \ud800") == 400
    path = f"/api/v1/dead/groups/{'0' * 16}/note/"
    assert put("nobody") == 404
