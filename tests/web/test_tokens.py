"""API tokens: shown once, bound to a role and to queues, ended by time or by hand."""

import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.test import Client

from jobs import mongodb, people, roles, selectors, services, tokens
from jobs.clients import collection
from jobs.errors import InvalidRequest
from jobs.models import ApiToken, AuditEntry
from tests.web.actors import MAIL, Api, api, dead, fields, problem, submitted, user
from tests.web.conftest import Commands

pytestmark = pytest.mark.usefixtures("stores")

JOB = {"type": "send_email", "payload": MAIL}


def test_a_token_is_named_by_its_public_part_and_kept_as_a_hash() -> None:
    token = services.issue_token(user("admin"), actor="root", name="nightly")
    assert re.fullmatch(r"tq_[a-z0-9]{8}_[\w-]{43}", token)
    (kept,) = collection("api_tokens").find()
    assert kept["public"] == token[3:11]
    assert token[12:] not in str(kept)
    assert kept["digest"] == tokens.digest(token)


@pytest.mark.parametrize(
    "change",
    [
        {"revoked_at": lambda now: now},
        {"expires_at": lambda now: now},
        {"digest": lambda now: "0" * 64},
    ],
)
def test_a_token_that_has_ended_is_a_401(change: dict[str, Callable[..., object]]) -> None:
    caller = api("admin")
    assert caller.get("jobs/").status_code == 200
    now = mongodb.now()
    (kept,) = ApiToken.objects.all()
    for name, value in change.items():
        setattr(kept, name, value(now))
    kept.save()
    assert problem(caller.get("jobs/"), 401)["code"] == "unauthenticated"


def test_a_token_of_an_older_version_goes_on_working() -> None:
    old = "x" * 43
    tokens.issue(user("operator"))
    ApiToken.objects.update(digest=tokens.digest(old), public=tokens.digest(old)[:8])
    client = Client(headers={"Authorization": f"Token {old}"})
    assert client.get("/api/v1/jobs/").status_code == 200


def test_a_token_may_no_more_than_its_role_nor_than_its_user() -> None:
    weak = Api(user("admin"), role="viewer")
    assert weak.get("jobs/").status_code == 200
    problem(weak.post("jobs/", JOB), 403)
    strong = Api(user("viewer"), role="admin")
    assert strong.get("jobs/").status_code == 200
    problem(strong.post("jobs/", JOB), 403)
    root = Api(User.objects.create_superuser("root"), role="viewer")
    problem(root.post("jobs/", JOB), 403)


def test_a_change_of_a_group_s_permissions_is_a_change_of_what_its_members_may() -> None:
    caller, person = api("viewer"), Client()
    person.force_login(user("viewer"))
    submit = Permission.objects.filter(codename="submit")
    problem(caller.post("jobs/", JOB), 403)
    roles.group("operator")  # with it come its permissions
    Group.objects.get(name="viewer").permissions.add(submit.get())
    assert caller.post("jobs/", JOB).status_code == 201
    assert person.get("/jobs/new/").status_code == 200
    Group.objects.get(name="viewer").permissions.clear()
    problem(caller.get("jobs/"), 403)
    assert person.get("/jobs/").status_code == 403


def test_a_permission_of_a_user_alone_counts_too() -> None:
    who = user(None)
    caller = Api(who)
    problem(caller.get("jobs/"), 403)
    roles.group("viewer")
    who.user_permissions.add(Permission.objects.get(codename="view"))
    assert caller.get("jobs/").status_code == 200


def test_the_last_use_is_written_once_a_minute() -> None:
    caller = api("viewer")
    assert ApiToken.objects.get().last_used_at is None
    caller.get("jobs/")
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    caller.get("jobs/")
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(seconds=61))
    people.changed()
    caller.get("jobs/")
    assert ApiToken.objects.get().last_used_at >= first


# --- kept for a moment ------------------------------------------------------------------------


def test_a_token_that_was_just_read_is_not_read_again(commands: Commands) -> None:
    caller = api("viewer")
    caller.get("queues/")
    commands.names.clear()
    assert caller.get("queues/").status_code == 200
    asked_once = len(commands.names)
    people.changed()
    commands.names.clear()
    assert caller.get("queues/").status_code == 200
    assert len(commands.names) == asked_once + 2  # the token with its user, and their rights


def test_an_expiry_holds_for_a_token_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Api(user("viewer"), expires_at=mongodb.now() + timedelta(hours=1))
    assert caller.get("jobs/").status_code == 200
    later = mongodb.now() + timedelta(hours=2)
    monkeypatch.setattr(mongodb, "now", lambda: later)
    problem(caller.get("jobs/"), 401)


@pytest.mark.parametrize("past", ["the application", "Redis"])
def test_what_nobody_told_of_is_seen_seconds_later(
    monkeypatch: pytest.MonkeyPatch, until: Callable[..., Any], past: str
) -> None:
    monkeypatch.setattr(tokens, "KEPT_SECONDS", 0.5)
    caller = api("viewer")
    assert caller.get("jobs/").status_code == 200
    if past == "Redis":  # another process could not tell it
        monkeypatch.setattr(people, "changed", lambda: None)
        services.revoke_token(str(ApiToken.objects.get().pk), actor="root")
    else:
        ApiToken.objects.update(revoked_at=mongodb.now())
    until(lambda: caller.get("jobs/").status_code == 401, tokens.KEPT_SECONDS + 5)


def test_without_redis_every_call_asks_mongodb(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = api("viewer")
    monkeypatch.setattr(people, "version", lambda: None)
    assert caller.get("jobs/").status_code == 200
    ApiToken.objects.update(revoked_at=mongodb.now())
    problem(caller.get("jobs/"), 401)


# --- the scope --------------------------------------------------------------------------------


@pytest.fixture
def scoped() -> Api:
    return Api(user("admin"), queues=["mail", "reports"])


def test_a_scoped_token_finds_only_jobs_of_its_queues(scoped: Api) -> None:
    own, other = submitted(queue="mail"), submitted()
    gone, kept = dead(), dead(queue="reports")
    assert [job["id"] for job in scoped.get("jobs/").json()["results"]] == [kept, own]
    assert [job["id"] for job in scoped.get("dead/").json()["results"]] == [kept]
    assert scoped.get("jobs/", queue="default").json()["results"] == []
    assert scoped.get("jobs/", q=other).json()["results"] == []
    assert scoped.get(f"jobs/{own}/").status_code == 200
    assert {queue["name"] for queue in scoped.get("queues/").json()["results"]} == {
        "mail",
        "reports",
    }
    for path in (f"jobs/{other}/", f"jobs/{gone}/"):
        problem(scoped.get(path), 404)


def test_a_scoped_token_changes_only_jobs_of_its_queues(scoped: Api) -> None:
    own, other = submitted(queue="mail"), submitted()
    problem(scoped.post(f"jobs/{other}/cancel/"), 404)
    problem(scoped.post(f"jobs/{dead()}/requeue/"), 404)
    problem(scoped.post("queues/default/pause/"), 404)
    problem(scoped.post("queues/default/resume/"), 404)
    assert selectors.job(other).status == "pending"
    assert not any(queue.paused_at for queue in selectors.queues())
    assert scoped.post(f"jobs/{own}/cancel/").status_code == 200
    assert scoped.post("queues/mail/pause/").status_code == 200


def test_a_scoped_token_submits_only_to_its_queues_and_the_field_says_so(scoped: Api) -> None:
    assert scoped.post("jobs/", {**JOB, "queue": "mail"}).status_code == 201
    assert fields(scoped.post("jobs/", JOB), 403) == ["queue"]
    mixed = {"jobs": [{**JOB, "queue": "mail"}, JOB]}
    assert fields(scoped.post("jobs/bulk/", mixed), 403) == ["jobs.1.queue"]
    assert [job.queue for job in selectors.jobs(selectors.JobFilter()).jobs] == ["mail"]


@pytest.mark.parametrize("path", ["stats/", "stats/minutes/", "workers/"])
def test_what_is_about_the_whole_system_refuses_a_scoped_token(scoped: Api, path: str) -> None:
    problem(scoped.get(path), 403)
    assert api("admin").get(path).status_code == 200


def test_minutes_of_its_own_queue_are_shown_to_a_scoped_token(scoped: Api) -> None:
    assert scoped.get("stats/minutes/", queue="mail").status_code == 200
    assert fields(scoped.get("stats/minutes/", queue="default"), 403) == ["queue"]


# --- the page and the command -----------------------------------------------------------------


def shown(page: bytes) -> str:
    found = re.search(r"tq_[a-z0-9]{8}_[\w-]{43}", page.decode())
    assert found
    return found[0]


def test_the_page_shows_a_token_once(client_of: Callable[..., Client]) -> None:
    admin = client_of("admin")
    asked = {"name": "nightly", "role": "operator", "days": "30", "queues": "mail, reports"}
    token = shown(admin.post("/tokens/", asked).content)
    assert token[12:] not in admin.get("/tokens/").content.decode()
    kept = ApiToken.objects.get()
    assert (kept.name, kept.role, kept.queues) == ("nightly", "operator", ["mail", "reports"])
    assert timedelta(days=29) < kept.expires_at - mongodb.now() < timedelta(days=30)
    caller = Client(headers={"Authorization": f"Token {token}"})
    assert caller.get("/api/v1/jobs/").status_code == 200
    assert admin.post(f"/tokens/{kept.pk}/revoke/").status_code == 302
    assert caller.get("/api/v1/jobs/").status_code == 401
    actions = [entry.action for entry in AuditEntry.objects.all()]
    assert actions[:3] == ["refused", "revoke_token", "issue_token"]
    assert token[12:] not in str(list(collection("audit").find()))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "a b"}, "valid username"),
        ({"role": "god"}, "Select a valid choice"),
        ({"days": "-1"}, "greater than or equal"),
        ({"days": "nan"}, "number"),
        ({"queues": "a b"}, "no name of a queue"),
        ({"name": "olga"}, "is a person"),
    ],
)
def test_the_page_says_what_is_wrong_and_makes_nothing(
    client_of: Callable[..., Client], asked: dict[str, str], said: str
) -> None:
    User.objects.create_user("olga", password="correct horse battery")
    answer = client_of("admin").post("/tokens/", {"name": "ci", "role": "viewer", **asked})
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert ApiToken.objects.count() == 0


def test_nobody_makes_a_token_that_may_more_than_they(client_of: Callable[..., Client]) -> None:
    roles.group("admin")
    clerks = Group.objects.create(name="clerks")
    clerks.permissions.set(Permission.objects.filter(codename__in=["view", "manage_tokens"]))
    client, clerk = client_of(None), user(None)
    clerk.groups.add(clerks)
    client.force_login(clerk)
    answer = client.post("/tokens/", {"name": "mine", "role": "admin"})
    assert "choose a weaker role" in answer.content.decode()
    assert client.post("/tokens/", {"name": "mine", "role": "viewer"}).status_code == 200


def run(*words: str) -> str:
    out = StringIO()
    call_command("apitoken", *words, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_tokens_that_have_ended_hide_none_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "TOKENS", 2)
    owner = user("operator")
    _, *ended = [tokens.issue(owner, name=name)[0] for name in "abcd"]
    over = mongodb.now()
    ApiToken.objects.filter(pk=ended[0].pk).update(revoked_at=over)
    ApiToken.objects.filter(pk=ended[1].pk).update(expires_at=over)
    ApiToken.objects.filter(pk=ended[2].pk).update(revoked_at=over, expires_at=over)
    tokens.issue(owner, name="e", expires_at=over + timedelta(days=1))
    assert [(token.name, token.state(over)) for token in selectors.tokens()] == [
        ("e", "active"),
        ("d", "revoked"),
        ("c", "expired"),
        ("a", "active"),
    ]


def test_the_command_lists_and_revokes() -> None:
    token = run("ci", "--role", "operator", "--expires-in", "7", "--queue", "mail").strip()
    assert f"{token[3:11]}  active   operator  mail" in run("--list")
    assert "revoked" in run("--revoke", token[3:11])
    assert f"{token[3:11]}  revoked" in run("--list")
    with pytest.raises(CommandError, match="There is no token"):
        run("--revoke", "nope")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("ci", "--list"),
        ("ci", "--role", "viewer", "--queue", "a b"),
        ("ci", "--role", "viewer", "--expires-in", "0"),
        ("ci", "--role", "viewer", "--expires-in", "nan"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run(*words)
    assert ApiToken.objects.count() == 0


def test_the_command_leaves_the_role_of_a_person_alone() -> None:
    olga = User.objects.create_user("olga", password="correct horse battery")
    roles.give(olga, "operator")
    token = run("olga", "--role", "viewer").strip()
    assert roles.roles_of(olga) == ["operator"]
    client = Client(headers={"Authorization": f"Token {token}"})
    assert client.get("/api/v1/jobs/").status_code == 200
    answer = client.post("/api/v1/jobs/", JOB, content_type="application/json")
    assert answer.status_code == 403


def test_a_lesser_token_leaves_its_program_what_other_tokens_of_it_may() -> None:
    may_operate = services.issue_token_to("ci", "operator", actor="root")
    services.issue_token_to("ci", "viewer", actor="root")
    client = Client(headers={"Authorization": f"Token {may_operate}"})
    answer = client.post("/api/v1/jobs/", JOB, content_type="application/json")
    assert answer.status_code == 201
    services.issue_token_to("ci", "admin", actor="root")
    assert roles.roles_of(User.objects.get(username="ci")) == ["admin"]


def test_a_token_that_cannot_be_made_leaves_its_account_as_it_was() -> None:
    services.issue_token_to("ci", "viewer", actor="root")
    for name in ("ci", "new"):
        with pytest.raises(InvalidRequest, match="queues"):
            services.issue_token_to(name, "admin", actor="root", queues=["a b"])
    assert roles.roles_of(User.objects.get(username="ci")) == ["viewer"]
    assert not User.objects.filter(username="new").exists()
