"""Every route, every method, everybody: what each is answered, written down in `routes.txt`.

A route that is not in the table fails, and so does a row whose route has gone. A failure prints the
lines as they would be: read each as if it were code before it goes into the table.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from bson import ObjectId
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import URLPattern, get_resolver
from pytest_django.fixtures import Settings

from jobs import mongodb, roles, services, tokens
from jobs.clients import collection
from jobs.models import ApiToken, AuditEntry, Job, SavedView
from jobs.selectors import JobFilter
from tests.web.actors import MAIL, dead, submitted, user

pytestmark = pytest.mark.usefixtures("stores")

TABLE = Path(__file__).with_name("routes.txt")
METHODS = ("get", "post", "put", "patch", "delete")
ACTORS = (
    *("anonymous", "nobody", "viewer", "operator", "admin"),
    *("revoked", "expired", "elsewhere"),  # tokens of an admin; the last is bound to other queues
)
TOKENS = ACTORS[-3:]
CHANGERS = {"operator", "admin"}
JSON = "application/json"
JOB = {"type": "send_email", "payload": MAIL}
FILLED = {"payload.to": MAIL["to"], "payload.subject": "Hi"}


def routes(patterns: Any = None, prefix: str = "") -> Iterator[str]:
    """Yield the pattern of every address there is."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield route
        else:
            yield from routes(pattern.url_patterns, route)


ROUTES = sorted(routes())


def group_of(route: str) -> str:
    """Return which routes are tried in one test: they share their actors."""
    found = re.match(r"admin/\w+/\w+/|admin/|api/v1/\w+/|api/|\w+/|", route)
    return found[0] if found else ""


GROUPS = sorted({group_of(route) for route in ROUTES})


def read_table() -> dict[str, dict[str, list[int]]]:
    """Return what is expected: route, method, and a status for each of `ACTORS`."""
    table: dict[str, dict[str, list[int]]] = {}
    for line in TABLE.read_text().splitlines():
        if line and not line.startswith("#"):
            method, *codes = line.split()[: 1 + len(ACTORS)]
            route = line.split(maxsplit=1 + len(ACTORS))[-1].removeprefix("/")
            table.setdefault(route, {})[method] = [int(code) for code in codes]
    return table


# --- who asks ---------------------------------------------------------------------------------


def client(actor: str, *, api: bool) -> Client:
    """Return who asks: by token where there are tokens, by session elsewhere."""
    if actor == "anonymous":
        return Client()
    who = user("admin" if actor in TOKENS else None if actor == "nobody" else actor)
    if not api and actor not in TOKENS:
        made = Client()
        made.force_login(who)
        made.actor = who.get_username()  # type: ignore[attr-defined]
        return made
    kept, token = tokens.issue(who, queues=["elsewhere"] if actor == "elsewhere" else [])
    if actor in ("revoked", "expired"):
        ended = mongodb.now() - timedelta(seconds=1)
        ApiToken.objects.filter(pk=kept.pk).update(
            **{f"{actor}_at".replace("expired", "expires"): ended}
        )
    made = Client(headers={"Authorization": f"Token {token}"})
    made.actor = who.get_username()  # type: ignore[attr-defined]
    return made


# --- what is asked for ------------------------------------------------------------------------


def worker() -> str:
    facts = {"host": "h", "pid": 1, "concurrency": 1, "version": "1"}
    services.register_worker(id := ObjectId(), ["default"], supervisor=ObjectId(), **facts)
    return str(id)


def operation(*, running: bool = True) -> str:
    token = services.preview("requeue", JobFilter(), actor="ada").token
    id = services.start_operation(services.read_token(token, actor="ada"), actor="ada").id
    if not running:
        services.stop_operation(id, actor="ada")
    return id


def queue() -> str:
    submitted()
    return "default"


def audited() -> str:
    services.pause(queue(), actor="ada")
    return str(AuditEntry.objects.all()[0].pk)


def failed_login() -> str:
    facts = {"username": "olga", "ip_address": "10.0.0.1", "failures_since_start": 1}
    return str(AccessAttempt.objects.create(user_agent=str(ObjectId()), **facts).pk)


OBJECTS: dict[str, Callable[[], Any]] = {
    "jobs/job": dead,
    "jobs/worker": worker,
    "jobs/queue": queue,
    "jobs/auditentry": audited,
    "jobs/apitoken": lambda: tokens.issue(user())[0].pk,
    "axes/accessattempt": failed_login,
    "auth/user": lambda: user().pk,
    "auth/group": lambda: Group.objects.create(name=str(ObjectId())).pk,
}
IDS: dict[str, Callable[[], Any]] = {
    "people/": OBJECTS["auth/user"],
    "tokens/": OBJECTS["jobs/apitoken"],
    "operations/<str:id>/resume/": lambda: operation(running=False),
    "operations/": operation,
    "cancel/": submitted,
    "run/": lambda: submitted(delay=3600),
    "workers/": worker,
    "jobs/export": lambda: "csv",
    "jobs/views/": lambda: SavedView.objects.create(user=user(), name="v", query="x").pk,
    "jobs/": dead,
    "dead/groups/": lambda: collection("jobs").find_one({"_id": ObjectId(dead())})["fingerprint"],
    "types/": lambda: "send_email",
    "queues/": queue,
    "audit/": lambda: "csv",
}


def address(route: str) -> str:
    """Return an address of this route, and make what it is about."""
    if model := re.match(r"admin/(\w+/\w+)/<", route):
        route = re.sub("<[^>]+>", str(OBJECTS[model[1]]()), route)
    route = route.replace("^(?P<app_label>jobs|axes|auth)/$", "jobs/")
    route = route.replace("(?P<url>.*)$", "nope/").replace("<path:path>", "nope/")
    if "<" in route:
        kind = next(kind for kind in IDS if kind in route)
        route = re.sub("<[^>]+>", str(IDS[kind]()), route)
    return f"/{route}"


def frozen(who: Any) -> dict[str, str]:
    actor = getattr(who, "actor", "")
    return {"token": services.preview("requeue", JobFilter(status="dead"), actor=actor).token}


BODIES: dict[str, Callable[[Any], Any]] = {
    "people/<str:id>/role/": lambda who: {"role": "viewer"},
    "api/v1/jobs/": lambda who: JOB,
    "api/v1/jobs/bulk/": lambda who: {"jobs": [JOB]},
    "api/v1/dead/requeue/": frozen,
    "api/v1/dead/groups/<str:fingerprint>/note/": lambda who: {"note": "known"},
    "api/v1/operations/": frozen,
    "api/v1/operations/preview/": lambda who: {"action": "requeue"},
    "jobs/new/": lambda who: {"type": "send_email", **FILLED},
    "jobs/<str:id>/edit/": lambda who: FILLED,
    "queues/<str:name>/pause/": lambda who: {"reason": "deploying"},
    "dead/requeue/": lambda who: {"id": dead()},
    "operations/preview/": lambda who: {"action": "requeue"},
    "operations/start/": frozen,
    "jobs/views/": lambda who: {"name": str(ObjectId()), "q": "state:dead"},
    "tokens/": lambda who: {"name": f"ci-{ObjectId()}", "role": "viewer"},
}


def askers(route: str, method: str, expected: dict[str, list[int]]) -> Collection[str]:
    if not expected:
        return ACTORS
    if expected[method] == [405] * len(ACTORS):
        return ("admin",)
    as_get = method not in ("get", "post") and expected[method] == expected["get"]
    return ("viewer", "admin") if route.startswith("admin/") and as_get else ACTORS


def answers(
    route: str, clients: dict[str, Client], expected: dict[str, list[int]]
) -> dict[str, list[int]]:
    """Ask as somebody who means it: with a body that is accepted, and a confirmation.

    For what nobody may ask an admin alone does: who may less is refused no later. To Django's admin
    PUT, PATCH and DELETE are what GET is: one who may see and one who may not ask by them.
    """
    body = BODIES.get(route, lambda who: {} if route.startswith("api/") else {"post": "yes"})
    found: dict[str, list[int]] = {}
    for method in METHODS:
        where, found[method] = address(route), []
        asked = askers(route, method, expected)
        for at, (actor, who) in enumerate(clients.items()):
            if actor not in asked:
                found[method].append(expected[method][at])
                continue
            if method == "post" and not route.startswith("api/"):
                answer = who.post(where, body(who))
            else:
                data = json.dumps(body(who) if method in ("post", "put") else {})
                sent = {} if method == "get" else {"data": data, "content_type": JSON}
                answer = getattr(who, method)(where, **sent)
            found[method].append(answer.status_code)
            if actor in CHANGERS and method in ("post", "delete") and answer.status_code < 400:
                where = address(route)
    return found


def said(route: str, found: dict[str, list[int]]) -> str:
    """Return the lines of a route as the table has them."""
    lines = [f"{method:<7}{' '.join(map(str, codes))}  /{route}" for method, codes in found.items()]
    return "\n" + "\n".join(lines)


def actors(group: str) -> dict[str, Client]:
    api = group.startswith(("api/", "metrics")) or group == ""
    return {actor: client(actor, api=api and group != "") for actor in ACTORS}


@pytest.fixture(autouse=True)
def _no_limits(settings: Settings) -> None:
    for kind in ("SUBMIT", "READ", "WRITE", "UNKNOWN"):
        setattr(settings, f"RATE_LIMIT_{kind}", 0)
    roles.make_groups()


def test_the_table_has_every_route_and_no_other() -> None:
    assert sorted(read_table()) == ROUTES


def test_the_table_has_every_method() -> None:
    assert all(tuple(methods) == METHODS for methods in read_table().values())


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group or "root")
def test_each_is_answered_as_the_table_says(group: str) -> None:
    clients, table = actors(group), read_table()
    for route in ROUTES:
        if group_of(route) == group:
            found = answers(route, clients, table.get(route, {}))
            assert found == table.get(route), said(route, found)
            if route.endswith("logout/"):
                clients = actors(group)


# --- sessions without the CSRF token ----------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group or "root")
def test_a_session_changes_nothing_without_its_csrf_token(group: str) -> None:
    session = Client(enforce_csrf_checks=True)
    session.force_login(User.objects.create_superuser("root"))
    for route in ROUTES:
        if group_of(route) != group:
            continue
        where = address(route)
        before = (Job.objects.count(), User.objects.count(), ApiToken.objects.count())
        for method in METHODS[1:]:
            status = getattr(session, method)(where, "{}", content_type=JSON).status_code
            expected = 404 if "<path:path>" in route else 403
            assert status == expected, (method, route)
        assert (Job.objects.count(), User.objects.count(), ApiToken.objects.count()) == before
