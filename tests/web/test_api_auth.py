"""Who may do what: every route, for everybody."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from jobs import services
from jobs.api_urls import urlpatterns
from jobs.models import ApiToken
from jobs.selectors import JobFilter
from jobs.tokens import digest
from tests.web.actors import MAIL, Api, api, dead, problem, submitted, user

pytestmark = pytest.mark.usefixtures("stores")


class Row(NamedTuple):
    """What a route answers to those who may, and how it is called."""

    code: int = 200
    body: Callable[[Api], Any] = lambda caller: {}
    url: Callable[[], dict[str, str]] = dict
    role: str = "operator"  # who may, where it changes anything


def _frozen(caller: Api) -> dict[str, str]:
    chosen = JobFilter(status="dead")
    return {"token": services.preview("requeue", chosen, actor=caller.name).token}


def _operation(running: bool = True) -> dict[str, str]:
    token = services.preview("requeue", JobFilter(), actor="ada").token
    id = services.start_operation(services.read_token(token, actor="ada"), actor="ada").id
    if not running:
        services.stop_operation(id, actor="ada")
    return {"id": id}


def _ended() -> dict[str, str]:
    return {"id": dead()}


def _queue() -> dict[str, str]:
    submitted()
    return {"name": "default"}


JOB = {"type": "send_email", "payload": MAIL}
READ = Row()
ROWS: dict[tuple[str, str], Row] = {
    ("get", "versions"): READ,
    ("get", "schema"): READ,
    ("get", "docs"): READ,
    ("get", "redoc"): READ,
    ("get", "v1"): READ,
    ("get", "jobs"): READ,
    ("post", "jobs"): Row(201, lambda _: JOB),
    ("post", "bulk"): Row(201, lambda _: {"jobs": [JOB]}),
    ("get", "job"): Row(url=lambda: {"id": submitted()}),
    ("post", "requeue"): Row(url=lambda: {"id": dead()}),
    ("post", "cancel"): Row(url=lambda: {"id": submitted()}),
    ("delete", "job"): Row(204, url=_ended, role="admin"),
    ("get", "dead"): READ,
    ("get", "dead-groups"): READ,
    ("post", "dead-preview"): READ,
    ("post", "dead-requeue"): Row(body=_frozen),
    ("get", "operations"): READ,
    ("post", "operations"): Row(202, body=_frozen),
    ("post", "operation-preview"): Row(body=lambda _: {"action": "requeue"}),
    ("get", "operation"): Row(url=_operation),
    ("post", "operation-stop"): Row(url=_operation),
    ("post", "operation-resume"): Row(url=partial(_operation, running=False)),
    ("get", "stats"): READ,
    ("get", "minutes"): READ,
    ("get", "queues"): READ,
    ("get", "queue"): Row(url=_queue),
    ("post", "pause"): Row(url=_queue),
    ("post", "resume"): Row(url=_queue),
    ("get", "workers"): READ,
    ("get", "types"): READ,
    ("get", "type"): Row(url=lambda: {"name": "send_email"}),
}
ACTORS = ("anonymous", "nobody", "viewer", "operator", "admin", "superuser")


def test_every_route_has_a_row() -> None:
    routes = {
        (method, str(pattern.name))
        for pattern in urlpatterns
        if hasattr(pattern.callback, "view_class") or hasattr(pattern.callback, "cls")
        for method in ("get", "post", "put", "patch", "delete")
        if hasattr(pattern.callback.cls, method)
    }
    assert routes == set(ROWS)


def expected(actor: str, method: str, row: Row) -> int:
    if actor == "anonymous":
        return 401
    if actor == "nobody" or (actor == "viewer" and method != "get"):
        return 403
    if method != "get" and row.role == "admin" and actor == "operator":
        return 403
    return row.code


@pytest.mark.parametrize(("method", "name"), ROWS)
def test_a_route_answers_each_role_as_it_must(method: str, name: str) -> None:
    row = ROWS[method, name]
    callers = {
        "anonymous": Api(),
        "nobody": api(None),
        "superuser": Api(User.objects.create_superuser("root")),
    } | {role: api(role) for role in ("viewer", "operator", "admin")}
    for actor in ACTORS:
        address = reverse(f"api:{name}", kwargs=row.url())
        send = getattr(callers[actor].client, method)
        body = {"data": json.dumps(row.body(callers[actor]))} if method == "post" else {}
        answer = send(address, **body, content_type="application/json")
        assert answer.status_code == expected(actor, method, row), (actor, answer.content[:300])


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
    User.objects.filter(pk=who.pk).update(is_active=False)
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
    from jobs import roles

    who = user("admin")
    assert roles.may(who, "manage_users")
    roles.give(who, "viewer")
    who = User.objects.get(pk=who.pk)
    assert roles.rights_of(who) == {"view"}
    assert roles.roles_of(who) == ["viewer"]
