"""The page of people: who they are, what role they have, and who is let in."""

from collections.abc import Callable

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client

from jobs import logins, mongodb, roles
from jobs.models import AuditEntry
from tests.web.actors import Api
from tests.web.conftest import FRAGMENT

PASSWORD = "correct horse battery"


@pytest.fixture
def admin(client_of: Callable[..., Client]) -> Client:
    return client_of("admin")


@pytest.fixture
def olga(stores: str) -> User:
    user = User.objects.create_user("olga", password=PASSWORD)
    roles.give(user, "viewer")
    return user


def log_in(password: str = PASSWORD) -> int:
    return Client().post("/login/", {"username": "olga", "password": password}).status_code


def page(client: Client) -> str:
    return " ".join(client.get("/people/").content.decode().split())


def audited(action: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action=action, target="olga"))


def test_it_lists_people_and_programs_with_their_roles(admin: Client, olga: User) -> None:
    roles.give(User.objects.create_user("nightly"), "operator")
    shown = page(admin)
    assert 'data-label="Role">viewer</td>' in shown
    assert 'data-label="Kind">program</td> <td data-label="Role">operator</td>' in shown
    assert "never" in shown


def test_a_role_is_given_and_written_down(admin: Client, olga: User) -> None:
    answer = admin.post(f"/people/{olga.pk}/role/", {"role": "operator"}, **FRAGMENT)
    assert "olga is operator" in answer.content.decode()
    assert roles.roles_of(olga) == ["operator"]
    (entry,) = audited("give_role")
    assert (entry.before, entry.after) == ({"roles": ["viewer"]}, {"roles": ["operator"]})
    admin.post(f"/people/{olga.pk}/role/", {"role": "operator"})
    assert len(audited("give_role")) == 1  # nothing changed


def test_a_role_that_does_not_exist_is_refused(admin: Client, olga: User) -> None:
    assert admin.post(f"/people/{olga.pk}/role/", {"role": "king"}).status_code == 400
    assert admin.post("/people/nobody/role/", {"role": "viewer"}).status_code == 404
    assert roles.roles_of(olga) == ["viewer"]


def test_who_is_deactivated_is_out_everywhere_at_once(admin: Client, olga: User) -> None:
    theirs, program = Client(), Api(olga)
    theirs.force_login(olga)
    assert theirs.get("/jobs/").status_code == 200
    assert theirs.get("/jobs/", **FRAGMENT).status_code == 200
    assert program.get("jobs/").status_code == 200
    admin.post(f"/people/{olga.pk}/deactivate/")
    assert theirs.get("/jobs/", **FRAGMENT).status_code == 401
    assert program.get("jobs/").status_code == 401
    assert log_in() == 200  # the form again
    assert "deactivated" in page(admin)
    admin.post(f"/people/{olga.pk}/activate/")
    assert log_in() == 302
    assert [len(audited(action)) for action in ("deactivate", "activate")] == [1, 1]


def test_nobody_changes_themselves(stores: str) -> None:
    root = User.objects.create_user("root")
    roles.give(root, "admin")
    client = Client()
    client.force_login(root)
    for address, form in (("role", {"role": "viewer"}), ("deactivate", {})):
        answer = client.post(f"/people/{root.pk}/{address}/", form, **FRAGMENT)
        assert answer.status_code == 409
        assert "ask another admin" in answer.content.decode()
    root.refresh_from_db()
    assert root.is_active
    assert roles.roles_of(root) == ["admin"]


def test_failed_logins_of_names_that_nobody_has_hide_no_lock(
    admin: Client, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "MOST", 2)
    for name in ("bot1", "bot2", "olga", "bot3", "bot4"):
        now = mongodb.now()
        AccessAttempt.objects.create(username=name, attempt_time=now, failures_since_start=9)
    assert "locked out" in page(admin)


def test_who_is_locked_out_is_shown_and_let_in_again(admin: Client, olga: User) -> None:
    for _ in range(6):
        log_in("wrong")
    assert log_in() == 429
    shown = page(admin)
    assert "locked out" in shown
    assert "6 failed logins from 127.0.0.1" in shown
    admin.post(f"/people/{olga.pk}/unlock/")
    assert "locked out" not in page(admin)
    assert log_in() == 302
    assert len(audited("unlock")) == 1


def test_only_who_manages_users_may(operator: Client, olga: User) -> None:
    assert operator.get("/people/").status_code == 403
    for address in ("role", "deactivate", "activate", "unlock"):
        assert operator.post(f"/people/{olga.pk}/{address}/", {"role": "admin"}).status_code == 403
    assert "/people/" not in operator.get("/").content.decode()
