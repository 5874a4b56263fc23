"""Tokens, sessions and roles at the door of the API; what every route answers is in routes.txt."""

import json

import pytest
from django.contrib.auth.models import User
from django.test import Client

from jobs import roles, services
from jobs.models import ApiToken
from jobs.tokens import digest
from tests.web.actors import MAIL, Api, api, problem, user

pytestmark = pytest.mark.usefixtures("stores")


JOB = {"type": "send_email", "payload": MAIL}


def test_a_superuser_is_an_admin() -> None:
    root = Api(User.objects.create_superuser("root"))
    assert root.get("jobs/").status_code == 200
    assert root.post("jobs/", JOB).status_code == 201
    assert roles.rights_of(User.objects.get(username="root")) == set(roles.RIGHTS)


@pytest.mark.parametrize("declared", [{}, {"get": "view"}])
def test_an_address_that_declares_no_right_answers_nobody(
    monkeypatch: pytest.MonkeyPatch, declared: dict[str, str]
) -> None:
    monkeypatch.setattr("jobs.api.jobs.Jobs.rights", declared)
    problem(Api(User.objects.create_superuser("root")).post("jobs/", JOB), 403)


@pytest.mark.parametrize("address", ["/metrics"])
def test_the_numbers_are_closed_as_the_api_is(address: str) -> None:
    codes = [caller.client.get(address).status_code for caller in (Api(), api(None), api("viewer"))]
    assert codes == [401, 403, 200]


@pytest.mark.parametrize(
    "header", ["Token", "Token nope", "Token a b", "Token \xff\xfe", "token " + "x" * 5000]
)
def test_a_wrong_token_is_a_401_that_says_how_to_do_it(header: str) -> None:
    answer = Client().get("/api/v1/jobs/", headers={"Authorization": header})
    assert problem(answer, 401)["code"] == "unauthenticated"
    assert answer["WWW-Authenticate"] == "Token"


def test_the_token_of_an_inactive_user_is_refused_at_once() -> None:
    who = user("admin")
    caller = Api(who)
    assert caller.get("jobs/").status_code == 200
    who.is_active = False
    who.save()
    problem(caller.get("jobs/"), 401)


def test_what_is_stored_of_a_token_does_not_open_anything() -> None:
    token = services.issue_token(user("admin"), actor="root")
    (kept,) = ApiToken.objects.all()
    assert kept.digest == digest(token) != token
    problem(Client(headers={"Authorization": f"Token {kept.digest}"}).get("/api/v1/jobs/"), 401)


def test_a_session_works_but_not_without_its_csrf_token() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user("operator"))
    assert client.get("/api/v1/jobs/").status_code == 200
    answer = client.post("/api/v1/jobs/", json.dumps(JOB), content_type="application/json")
    problem(answer, 403)
    unslashed = client.post("/api/v1/jobs", json.dumps(JOB), content_type="application/json")
    problem(unslashed, 403)


def test_a_person_gets_the_browsable_api_and_a_program_json() -> None:
    client = Client()
    client.force_login(user("operator"))
    page = client.get("/api/v1/jobs/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page["Content-Type"].startswith("text/html")
    assert client.get("/api/v1/jobs/")["Content-Type"] == "application/json"
    for path in ("dead/preview/", "jobs/nope/", "queues/nope/pause/"):
        page = client.get(f"/api/v1/{path}", headers={"Accept": "text/html"})
        assert page["Content-Type"].startswith("text/html"), path


def test_a_role_replaces_the_one_before() -> None:
    who = user("admin")
    assert roles.may(who, "manage_users")
    roles.give(who, "viewer")
    who = User.objects.get(pk=who.pk)
    assert roles.rights_of(who) == {"view"}
    assert roles.roles_of(who) == ["viewer"]
