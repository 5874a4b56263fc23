"""POST /api/v1/jobs/{id}/requeue/ and cancel/."""

import pytest
from bson import ObjectId

from jobs.models import AuditEntry
from tests.web.actors import Api, api, dead, fields, problem, submitted, user

pytestmark = pytest.mark.usefixtures("stores")


def test_a_requeued_job_is_pending_again_with_its_priority_and_the_audit_says_who() -> None:
    caller = Api(user("operator", "carla"))
    id = dead(priority="low")
    job = caller.post(f"jobs/{id}/requeue/").json()
    assert (job["id"], job["status"], job["priority"]) == (id, "pending", "low")
    (entry,) = AuditEntry.objects.filter(action="requeue")
    assert (entry.actor, entry.action, entry.target) == ("carla", "requeue", id)


def test_a_pending_job_can_be_cancelled_and_then_requeued() -> None:
    caller, id = api(), submitted()
    assert caller.post(f"jobs/{id}/cancel/").json()["status"] == "cancelled"
    assert caller.post(f"jobs/{id}/requeue/").json()["status"] == "pending"


def test_an_empty_body_without_a_content_type_is_enough() -> None:
    answer = api().client.generic("POST", f"/api/v1/jobs/{dead()}/requeue/", b"", "")
    assert answer.status_code == 200


@pytest.mark.parametrize("act", ["requeue", "cancel"])
def test_a_move_that_does_not_exist_is_a_conflict_and_changes_nothing(act: str) -> None:
    caller, id = api(), submitted()
    if act == "cancel":
        caller.post(f"jobs/{id}/cancel/")
    before = caller.get(f"jobs/{id}/").json()
    assert problem(caller.post(f"jobs/{id}/{act}/"), 409)["code"] == "illegal_move"
    assert caller.get(f"jobs/{id}/").json() == before


@pytest.mark.parametrize("act", ["requeue", "cancel"])
def test_bad_and_unknown_ids_and_bodies_are_refused(act: str) -> None:
    caller = api()
    assert fields(caller.post(f"jobs/nope/{act}/")) == ["id"]
    problem(caller.post(f"jobs/{ObjectId()}/{act}/"), 404)
    assert fields(caller.post(f"jobs/{submitted()}/{act}/", {"force": True})) == ["force"]
