"""One live part for all who look: what a poll costs, who may see it, and that it is never old."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.fixtures import Settings

from jobs import mongodb, people, roles, secrets, services, snapshot
from jobs.clients import redis
from jobs.limits import key as limit_key
from tests.web.conftest import FRAGMENT, Commands, Line, poll, rev_of

PAGES = ["/", "/jobs/", "/jobs/?status=dead", "/dead/", "/queues/", "/workers/", "/operations/"]


@pytest.fixture
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a part stay as good as new while a loaded machine takes its time for the test."""
    monkeypatch.setattr(snapshot, "FRESH_SECONDS", 60.0)


def kept(pattern: str) -> list[str]:
    return list(redis().scan_iter(f"{settings.REDIS_PREFIX}:{pattern}", count=10_000))


@pytest.mark.usefixtures("slow_machine")
@pytest.mark.parametrize("path", PAGES)
def test_an_unchanged_poll_asks_mongodb_nothing_and_redis_twice(
    operator: Client, line: Line, commands: Commands, round_trips: list[bytes], path: str
) -> None:
    line.dead()
    operator.get(path)
    rev = rev_of(operator.get(path))
    commands.names.clear()
    round_trips.clear()
    assert poll(operator, path, rev).status_code == 204
    assert commands.names == []
    assert len(round_trips) <= 2, round_trips


@pytest.mark.usefixtures("slow_machine")
def test_an_unchanged_poll_counts_for_no_limit(operator: Client, line: Line) -> None:
    rev = rev_of(operator.get("/jobs/"))
    (user,) = User.objects.all()
    taken = redis().hgetall(limit_key("read", f"user:{user.pk}"))
    assert poll(operator, "/jobs/", rev).status_code == 204
    assert redis().hgetall(limit_key("read", f"user:{user.pk}")) == taken


@pytest.mark.usefixtures("slow_machine")
def test_many_viewers_cost_one_build(
    client_of: Callable[..., Client], line: Line, commands: Commands
) -> None:
    viewers = [client_of("viewer") for _ in range(5)]
    for viewer in viewers:
        viewer.get("/jobs/")
    first = poll(viewers[0], "/jobs/")
    commands.names.clear()
    for viewer in viewers[1:]:
        answer = poll(viewer, "/jobs/")
        assert answer.status_code == 200
        assert answer.content == first.content
    assert commands.names == []


def test_other_rights_are_shown_another_part(client_of: Callable[..., Client], line: Line) -> None:
    line.dead()
    operator, viewer = client_of("operator"), client_of("viewer")
    operator.get("/dead/")
    assert "Requeue" in poll(operator, "/dead/").content.decode()
    viewer.get("/dead/")
    assert "Requeue" not in poll(viewer, "/dead/").content.decode()


@pytest.mark.parametrize("path", [*PAGES, "/system/", "job"])
def test_a_part_holds_nothing_personal(
    client_of: Callable[..., Client], line: Line, path: str
) -> None:
    path = f"/jobs/{line.dead()}/" if path == "job" else path
    clients = [client_of("admin"), client_of("admin")]

    def built(client: Client) -> str:
        snapshot.forget()
        client.get(path)
        snapshot.forget()
        return poll(client, path).content.decode()

    minute = None
    while minute != mongodb.now().minute:  # whose charts they show
        minute, parts = mongodb.now().minute, [built(client) for client in clients]
    assert "csrfmiddlewaretoken" not in parts[0]
    assert not re.search(r"admin-[0-9a-f]{24}", parts[0])
    if path != "/system/":  # where round trips and sizes differ from moment to moment
        assert parts[0] == parts[1]


def test_what_arrives_is_shown_by_one_of_the_next_polls(
    operator: Client, line: Line, until: Callable[..., Any]
) -> None:
    rev = rev_of(operator.get("/jobs/"))
    id = line.pending()
    answer = until(lambda: a if (a := poll(operator, "/jobs/", rev)).status_code == 200 else None)
    assert id in answer.content.decode()


def test_the_page_of_a_dead_job_is_sent_again_only_when_somebody_has_moved_it(
    operator: Client, line: Line
) -> None:
    id = line.dead()
    rev = rev_of(operator.get(f"/jobs/{id}/"))
    snapshot.forget()
    assert poll(operator, f"/jobs/{id}/", rev).status_code == 204
    services.requeue(id, actor="ada")
    snapshot.forget()
    answer = poll(operator, f"/jobs/{id}/", rev)
    assert answer.status_code == 200
    assert "Why is it not running?" in answer.content.decode()


@pytest.mark.usefixtures("slow_machine")
def test_an_operator_sees_at_once_what_they_did(
    client_of: Callable[..., Client], line: Line
) -> None:
    id = line.dead()
    operator, other = client_of("operator"), client_of("operator")
    rev = rev_of(operator.get("/dead/"))
    other.get("/dead/")
    assert operator.post(f"/jobs/{id}/requeue/", **FRAGMENT).status_code == 200
    for part in kept("part:*"):
        redis().set(f"{part.removesuffix(':fresh')}:building", 1, px=10_000)  # from before
    for client in (operator, other):
        answer = poll(client, "/dead/", rev)
        assert answer.status_code == 200
        assert f"dead-{id}" not in answer.content.decode()


def test_while_one_builds_the_others_are_served_the_one_before(
    operator: Client, line: Line, until: Callable[..., Any], commands: Commands
) -> None:
    operator.get("/jobs/")
    rev = rev_of(poll(operator, "/jobs/"))
    line.pending()
    (fresh,) = kept("part:*:fresh")
    part = fresh.removesuffix(":fresh")
    redis().delete(fresh)
    redis().set(f"{part}:building", 1, px=10_000)
    commands.names.clear()
    assert poll(operator, "/jobs/", rev).status_code == 204
    assert rev_of(poll(operator, "/jobs/", "another")) == rev
    assert commands.names == []


def test_what_is_shared_is_forgotten_in_time(operator: Client) -> None:
    operator.get("/jobs/")
    (fresh,) = kept("part:*:fresh")
    assert 0 < redis().pttl(fresh) <= 1000 * snapshot.FRESH_SECONDS
    assert 0 < redis().ttl(fresh.removesuffix(":fresh")) <= 86_400


def test_a_part_that_is_too_large_is_not_shared(
    operator: Client, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MOST_CHARACTERS", 10)
    rev = rev_of(operator.get("/jobs/"))
    assert kept("part:*") == []
    assert poll(operator, "/jobs/", rev).status_code == 204


def test_revealed_secrets_are_never_shared(client_of: Callable[..., Client], line: Line) -> None:
    id = line.dead()
    assert client_of("admin").post(f"/jobs/{id}/reveal/").status_code == 200
    assert kept("part:*") == []


def test_with_keys_a_part_is_encrypted_as_payloads_are(
    operator: Client, line: Line, settings: Settings
) -> None:
    settings.PAYLOAD_KEYS = [Fernet.generate_key().decode()]
    line.pending()
    operator.get("/jobs/")
    (part,) = [key for key in kept("part:*") if redis().type(key) == "hash"]
    assert secrets.is_sealed(json.loads(redis().hget(part, "packed") or ""))
    assert "page_probe" in poll(operator, "/jobs/").content.decode()
    settings.PAYLOAD_KEYS = [Fernet.generate_key().decode()]
    snapshot._remembered.clear()
    assert poll(operator, "/jobs/").status_code == 200  # it is built anew


# --- rights ------------------------------------------------------------------------------------


@pytest.fixture
def olga(stores: str) -> tuple[Client, User]:
    user = User.objects.create_user("olga", password="x")
    roles.give(user, "operator")
    client = Client()
    client.force_login(user)
    client.get("/jobs/")
    assert poll(client, "/jobs/").status_code == 200
    return client, user


def _take_the_role(client: Client, user: User) -> None:
    user.groups.clear()


def _deactivate(client: Client, user: User) -> None:
    user.is_active = False
    user.save()


def _change_the_password(client: Client, user: User) -> None:
    user.set_password("another")
    user.save()


def _empty_the_role(client: Client, user: User) -> None:
    user.groups.get().permissions.clear()


CHANGES: list[tuple[Callable[[Client, User], None], int]] = [
    (_take_the_role, 403),
    (_empty_the_role, 403),
    (_deactivate, 401),
    (_change_the_password, 401),
]


@pytest.mark.parametrize(("change", "status"), CHANGES)
def test_a_change_of_a_person_holds_from_the_next_poll_on(
    olga: tuple[Client, User], change: Callable[..., None], status: int
) -> None:
    client, user = olga
    change(client, user)
    assert poll(client, "/jobs/").status_code == status


def test_a_change_in_another_process_holds_from_the_next_poll_on(
    olga: tuple[Client, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, user = olga
    monkeypatch.setattr(people, "forget", lambda: None)  # this process has not noticed
    user.groups.clear()
    assert poll(client, "/jobs/").status_code == 403


def test_a_change_that_nobody_was_told_of_holds_after_two_minutes(
    olga: tuple[Client, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, user = olga
    monkeypatch.setattr(people, "changed", lambda: None)  # as while Redis is away
    user.groups.clear()
    assert poll(client, "/jobs/").status_code == 200
    known = people._kept.get(name := people._name(user.pk))
    assert known
    assert known.until - time.monotonic() <= 120
    people._kept.put(name, replace(known, until=time.monotonic()))
    assert poll(client, "/jobs/").status_code == 403


def test_a_session_that_was_ended_elsewhere_is_nobody_at_once(olga: tuple[Client, User]) -> None:
    client, _ = olga
    key = client.cookies["sessionid"].value
    assert client.post("/logout/").status_code == 302
    other = Client()
    other.cookies["sessionid"] = key
    assert poll(other, "/jobs/").status_code == 401


def test_what_is_no_poll_asks_for_the_rights_anew(
    olga: tuple[Client, User], monkeypatch: pytest.MonkeyPatch, line: Line
) -> None:
    client, user = olga
    monkeypatch.setattr(people, "changed", lambda: None)  # nobody is told
    user.groups.clear()
    assert client.get("/jobs/").status_code == 403
    assert client.post(f"/jobs/{line.dead()}/requeue/").status_code == 403
