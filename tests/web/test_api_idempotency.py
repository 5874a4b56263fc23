"""Idempotency-Key: a request whose answer was lost is sent again."""

import pytest
from django.http import HttpResponse
from pymongo.errors import AutoReconnect

from jobs import repository
from jobs.clients import collection
from tests.web.actors import MAIL, Api, api, fields, problem, stored, user

pytestmark = pytest.mark.usefixtures("stores")
JOB = {"type": "send_email", "payload": MAIL}
BODIES = [("jobs/", JOB), ("jobs/bulk/", {"jobs": [JOB, JOB]})]


def send(caller: Api, path: str, body: object, key: str = "k") -> HttpResponse:
    return caller.post(path, body, HTTP_IDEMPOTENCY_KEY=key)


def ids(answer: HttpResponse) -> list[str]:
    assert answer.status_code == 201, answer.content
    body = answer.json()
    return body["ids"] if "ids" in body else [body["id"]]


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_the_same_request_again_gets_the_same_answer(path: str, body: object) -> None:
    caller = api()
    first, again = send(caller, path, body), send(caller, path, body)
    assert first.json() == again.json()
    assert "Idempotency-Replayed" not in first
    assert again["Idempotency-Replayed"] == "true"
    assert stored() == len(ids(again))


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_without_a_key_each_request_is_another(path: str, body: object) -> None:
    caller = api()
    first, again = caller.post(path, body), caller.post(path, body)
    assert not set(ids(first)) & set(ids(again))
    assert "Idempotency-Replayed" not in again
    assert collection("requests").count_documents({}) == 0


def test_another_request_under_the_same_key_is_a_conflict() -> None:
    caller = api()
    ids(send(caller, "jobs/", JOB))
    for path, body in (("jobs/", {**JOB, "priority": "low"}), ("jobs/bulk/", {"jobs": [JOB] * 2})):
        refused = problem(send(caller, path, body), 409)
        assert refused["code"] == "idempotency_conflict"
    assert stored() == 1


def test_two_users_may_choose_the_same_key_and_two_tokens_of_one_share_it() -> None:
    ann, bob = user("operator", "ann"), user("operator", "bob")
    first = ids(send(Api(ann), "jobs/", JOB))
    assert ids(send(Api(ann), "jobs/", JOB)) == first
    assert ids(send(Api(bob), "jobs/", JOB)) != first


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb", "sch\xf6n"])
@pytest.mark.parametrize(("path", "body"), BODIES)
def test_a_bad_key_is_a_400_that_names_the_header(path: str, body: object, key: str) -> None:
    assert fields(send(api(), path, body, key)) == ["Idempotency-Key"]
    assert stored() == 0


def test_after_a_refused_request_its_key_is_free() -> None:
    caller = api()
    assert fields(send(caller, "jobs/", {**JOB, "priority": "no"})) == ["priority"]
    assert "Idempotency-Replayed" not in send(caller, "jobs/", JOB)


def test_a_503_is_answered_by_sending_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = api()

    def lost(*args: object, **options: object) -> None:
        raise AutoReconnect("gone")

    with monkeypatch.context() as down:
        down.setattr(repository, "_insert_many", lost)
        assert "same" in problem(send(caller, "jobs/", JOB), 503)["detail"]
    (id,) = ids(send(caller, "jobs/", JOB))
    assert ids(send(caller, "jobs/", JOB)) == [id]
    assert stored() == 1


def test_the_job_is_shown_as_it_is_now() -> None:
    caller = api()
    (id,) = ids(send(caller, "jobs/", JOB))
    caller.post(f"jobs/{id}/cancel/")
    assert send(caller, "jobs/", JOB).json()["status"] == "cancelled"


def test_a_job_that_was_deleted_since_is_gone_but_a_bulk_still_has_its_ids() -> None:
    caller = api()
    (id,) = ids(send(caller, "jobs/", JOB))
    many = ids(send(caller, "jobs/bulk/", {"jobs": [JOB]}, "other"))
    collection("jobs").delete_many({})
    gone = problem(send(caller, "jobs/", JOB), 410)
    assert gone["code"] == "gone"
    assert id in gone["detail"]
    assert ids(send(caller, "jobs/bulk/", {"jobs": [JOB]}, "other")) == many
    assert stored() == 0
