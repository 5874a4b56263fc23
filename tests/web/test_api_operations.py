"""The API of bulk operations, of deletion, and of what a caller need not ask twice."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId

from jobs import repository, selectors, services
from jobs.clients import collection
from jobs.waiting import Watcher
from tests.web.actors import Api, api, dead, fields, problem, submitted

pytestmark = pytest.mark.usefixtures("stores")


def preview(caller: Api, action: str = "requeue", **chosen: Any) -> dict[str, Any]:
    answer = caller.post("operations/preview/", {"action": action, "filter": chosen})
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_an_operation_from_preview_to_end() -> None:
    caller = api()
    ids = [dead() for _ in range(3)]
    shown = preview(caller, status="dead")
    assert (shown["count"], shown["by_status"]) == (3, {"dead": 3})
    assert [job["id"] for job in shown["sample"]] == ids[::-1]
    later = dead()
    answer = caller.post("operations/", {"token": shown["token"]})
    assert answer.status_code == 202
    assert answer["Location"].endswith(f"/api/v1/operations/{answer.json()['id']}/")
    assert answer.json()["state"] == "running"
    while services.operate():
        pass
    ended = caller.client.get(answer["Location"]).json()
    assert (ended["state"], ended["done"], ended["skipped"]) == ("completed", 3, 0)
    assert caller.get("operations/").json()["results"] == [ended]
    assert [job["id"] for job in caller.get("dead/").json()["results"]] == [later]


def test_the_same_token_and_key_again_answer_the_same_operation() -> None:
    caller = api()
    dead()
    first, second = preview(caller), preview(caller)
    key = {"headers": {"Idempotency-Key": "k"}}
    started = caller.post("operations/", {"token": first["token"]}, **key)
    again = caller.post("operations/", {"token": first["token"]}, **key)
    assert again.json()["id"] == started.json()["id"]
    assert ("Idempotency-Replayed" in started, again["Idempotency-Replayed"]) == (False, "true")
    refused = caller.post("operations/", {"token": second["token"]}, **key)
    assert problem(refused, 409)["code"] == "idempotency_conflict"
    assert len(caller.get("operations/").json()["results"]) == 1


def test_a_preview_that_takes_too_long_says_how_to_ask_a_shorter_one(endless: None) -> None:
    body = {"action": "requeue", "filter": {"status": "dead"}}
    answer = problem(api().post("operations/preview/", body), 503)
    assert (answer["code"], "Narrow" in answer["detail"]) == ("too_slow", True)


def test_a_token_of_somebody_else_is_refused() -> None:
    dead()
    token = preview(api())["token"]
    assert fields(api().post("operations/", {"token": token})) == ["token"]


def test_stop_and_resume_answer_the_operation_and_refuse_what_cannot_be() -> None:
    caller = api()
    id = caller.post("operations/", {"token": preview(caller)["token"]}).json()["id"]
    assert caller.post(f"operations/{id}/stop/").json()["state"] == "stopped"
    assert problem(caller.post(f"operations/{id}/stop/"), 409)["code"] == "illegal_move"
    assert caller.post(f"operations/{id}/resume/").json()["state"] == "running"
    assert problem(caller.post(f"operations/{ObjectId()}/stop/"), 404)
    assert fields(caller.post("operations/nope/stop/")) == ["id"]


def test_only_who_may_delete_one_job_may_delete_many() -> None:
    operator, admin = api("operator"), api("admin")
    body = {"action": "delete", "filter": {"status": "dead"}}
    assert problem(operator.post("operations/preview/", body), 403)
    assert problem(operator.delete(f"jobs/{dead()}/"), 403)
    assert preview(admin, "delete")["count"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action"),
        ({"action": "explode"}, "action"),
        ({"action": "requeue", "filter": {"status": {"$ne": "dead"}}}, "filter.status"),
        ({"action": "requeue", "filter": {"$where": "1"}}, "filter.$where"),
        ({"action": "requeue", "filter": {"status": "nope"}}, "status"),
        ({"action": "requeue", "filter": {"status": "running"}}, "status"),
        ({"action": "cancel", "filter": {"created_after": "2026-01-01"}}, "filter.created_after"),
        ({"action": "cancel", "filter": {"worker": "x"}}, "worker"),
        ({"action": "cancel", "filter": {"error_type": "$x"}}, "error_type"),
    ],
)
def test_a_preview_that_makes_no_sense_names_the_field(body: Any, field: str) -> None:
    assert fields(api().post("operations/preview/", body)) == [field]
    assert collection("operations").count_documents({}) == 0


def test_a_job_is_deleted_once_it_has_ended() -> None:
    caller = api("admin")
    pending, ended = submitted(), dead()
    assert problem(caller.delete(f"jobs/{pending}/"), 409)["code"] == "illegal_move"
    assert caller.delete(f"jobs/{ended}/").status_code == 204
    assert problem(caller.delete(f"jobs/{ended}/"), 404)
    assert problem(caller.get(f"jobs/{ended}/"), 404)


def test_the_new_filters_each_narrow_the_list() -> None:
    caller = api("viewer")
    tagged, failed = submitted(tags=["x1"]), dead()
    worker = str(selectors.job(failed).worker)
    created = selectors.job(failed).created_at.isoformat()
    for query, expected in (
        ({"tag": "x1"}, [tagged]),
        ({"error_type": "ValueError"}, [failed]),
        ({"error_type": "KeyError"}, []),
        ({"worker": worker}, [failed]),
        ({"created_after": created}, [failed]),
        ({"created_before": created}, [tagged]),
        ({"sort": "oldest"}, [tagged, failed]),
    ):
        found = caller.get("jobs/", **query).json()["results"]
        assert [job["id"] for job in found] == expected, query
    first = caller.get("jobs/", sort="oldest", limit=1).json()
    second = caller.get("jobs/", sort="oldest", limit=1, cursor=first["next"]).json()
    assert [job["id"] for job in second["results"]] == [failed]


def test_dead_letters_are_grouped_by_what_they_died_of() -> None:
    for queue in ("default", "default", "mail"):
        dead(queue=queue)
    answer = api("viewer").get("dead/groups/").json()
    (group,) = answer["results"]
    assert (group["type"], group["error_type"], group["count"]) == ("send_email", "ValueError", 3)
    assert group["queues"] == {"default": 2, "mail": 1}
    assert (group["newest_error"], sum(group["hours"])) == ("boom", 3)
    assert answer["complete"]


def test_one_type_and_one_queue_are_shown_and_unknown_ones_are_404() -> None:
    caller = api("viewer")
    submitted()
    assert caller.get("types/send_email/").json()["schema"]["required"] == ["to", "subject"]
    assert caller.get("queues/default/").json()["name"] == "default"
    assert problem(caller.get("types/nope/"), 404)
    assert problem(caller.get("queues/nope/"), 404)


# --- what has not changed is not sent again -----------------------------------------------------


def test_an_etag_is_good_until_the_job_changes() -> None:
    caller = api()
    id = submitted()
    tag = caller.get(f"jobs/{id}/")["ETag"]
    for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        same = caller.client.get(f"/api/v1/jobs/{id}/", headers={"If-None-Match": known})
        assert (same.status_code, same.content, same["ETag"]) == (304, b"", tag)
    services.cancel(id, actor="ada")
    changed = caller.client.get(f"/api/v1/jobs/{id}/", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed["ETag"] != tag


# --- waiting ------------------------------------------------------------------------------------


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch) -> Watcher:
    one = Watcher(2)
    monkeypatch.setattr(selectors, "_watcher", lambda: one)
    return one


def test_an_ended_job_is_not_waited_for(watcher: Watcher) -> None:
    answer = api("viewer").get(f"jobs/{dead()}/", wait=30)
    assert answer.json()["status"] == "dead"
    assert "Wait-Outcome" not in answer


def test_a_wait_ends_with_the_job(watcher: Watcher, django_db_blocker: Any) -> None:
    id, caller = submitted(), api("viewer")
    answers: list[Any] = []

    def ask() -> None:
        with django_db_blocker.unblock():
            answers.append(caller.get(f"jobs/{id}/", wait=30))

    asking = threading.Thread(target=ask)
    asking.start()
    _until(lambda: watcher._waiters == 1)
    services.cancel(id, actor="ada")
    asking.join(10)
    assert answers[0].json()["status"] == "cancelled"
    assert answers[0]["Wait-Outcome"] == "ended"


def test_a_wait_is_over_in_time_and_shows_the_job(watcher: Watcher) -> None:
    began = time.monotonic()
    answer = api("viewer").get(f"jobs/{submitted()}/", wait=0.3)
    assert answer.json()["status"] == "pending"
    assert answer["Wait-Outcome"] == "timed_out"
    assert 0.3 <= time.monotonic() - began < 5


def test_who_finds_no_room_to_wait_is_answered_at_once(watcher: Watcher) -> None:
    watcher.room = 0
    began = time.monotonic()
    answer = api("viewer").get(f"jobs/{submitted()}/", wait=30)
    assert answer["Wait-Outcome"] == "full"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("wait", ["-1", "31", "nan", "inf", "soon", ""])
def test_a_wait_that_makes_no_sense_is_refused(wait: str) -> None:
    assert fields(api("viewer").get(f"jobs/{ObjectId()}/", wait=wait)) == ["wait"]


def test_fifty_waiters_cost_four_questions_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    watcher, asked = Watcher(50), []
    unended = repository.unended
    monkeypatch.setattr(repository, "unended", lambda ids: asked.append(len(ids)) or unended(ids))
    ids = [ObjectId(submitted()) for _ in range(50)]
    waiters = [threading.Thread(target=watcher.wait, args=(id, 1.5)) for id in ids]
    for waiter in waiters:
        waiter.start()
    for waiter in waiters:
        waiter.join()
    assert max(asked) == 50
    assert len(asked) <= 9
    _until(lambda: not watcher._asking)
    assert watcher._waiting == {}


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
