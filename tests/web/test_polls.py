"""The short way of polls: whom it answers, with what, and what sends them the whole way."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.fixtures import Settings
from redis.exceptions import RedisError

from jobs import outages, people, polls, roles, snapshot
from jobs.sessions import SessionStore
from tests.web.conftest import FRAGMENT, Commands, Line, poll, rev_of
from tests.web.test_live_parts import CHANGES


@pytest.fixture(autouse=True)
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a part stay as good as new while a loaded machine takes its time for the test."""
    monkeypatch.setattr(snapshot, "FRESH_SECONDS", 60.0)
    polls._let_in.clear()


def went_whole_way(answer: Any) -> bool:
    return "X-Request-ID" in answer


@pytest.fixture
def olga(stores: str, line: Line) -> tuple[Client, User, str]:
    """Somebody who was let in, their browser, and the rev that their page has."""
    line.dead()
    user = User.objects.create_user("olga", password="x")
    roles.give(user, "operator")
    client = Client()
    client.force_login(user)
    rev = rev_of(client.get("/dead/"))
    assert poll(client, "/dead/", rev).status_code == 204
    return client, user, rev


def test_an_unchanged_poll_of_who_was_let_in_asks_redis_once_and_mongodb_nothing(
    olga: tuple[Client, User, str], commands: Commands, round_trips: list[bytes]
) -> None:
    client, _, rev = olga
    commands.names.clear()
    round_trips.clear()
    answer = poll(client, "/dead/", rev)
    assert (answer.status_code, went_whole_way(answer)) == (204, False)
    assert (commands.names, len(round_trips)) == ([], 1)


@pytest.mark.parametrize("theirs", ["current", ""])
def test_both_ways_give_the_same_answer(olga: tuple[Client, User, str], theirs: str) -> None:
    client, _, rev = olga
    polls._let_in.clear()
    whole, short = (poll(client, "/dead/", rev if theirs else "") for _ in range(2))
    assert (went_whole_way(whole), went_whole_way(short)) == (True, False)
    assert (short.status_code, short.content) == (whole.status_code, whole.content)
    del whole["X-Request-ID"]
    assert dict(short.items()) == dict(whole.items())


def _log_out_elsewhere(client: Client, user: User) -> None:
    other = Client()
    other.cookies["sessionid"] = client.cookies["sessionid"].value
    other.post("/logout/")


def _end_the_session(client: Client, user: User) -> None:
    SessionStore(client.cookies["sessionid"].value).delete()


@pytest.mark.parametrize(
    ("change", "status"), [*CHANGES, (_log_out_elsewhere, 401), (_end_the_session, 401)]
)
def test_who_was_let_in_is_not_any_longer_from_the_next_poll_on(
    olga: tuple[Client, User, str], change: Callable[[Client, User], None], status: int
) -> None:
    client, user, rev = olga
    assert poll(client, "/dead/", rev).status_code == 204
    change(client, user)
    assert poll(client, "/dead/", rev).status_code == status


def test_another_browser_that_goes_on_after_a_new_password_does_not_revive_the_first(
    olga: tuple[Client, User, str],
) -> None:
    client, user, rev = olga
    user.set_password("another")
    user.save()
    other = Client()
    other.force_login(user)
    poll(other, "/dead/")
    assert poll(other, "/dead/").status_code == 200
    assert poll(client, "/dead/", rev).status_code == 401


def test_a_change_in_another_process_holds_from_the_next_poll_on(
    olga: tuple[Client, User, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, user, rev = olga
    monkeypatch.setattr(people, "forget", lambda: None)  # this process has not noticed
    user.groups.clear()
    assert poll(client, "/dead/", rev).status_code == 403


def test_a_change_that_redis_was_not_told_of_is_not_revived_by_the_next_reading(
    olga: tuple[Client, User, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis lost the count, so what is read after the change is of the version before it."""
    client, user, rev = olga

    def lost(*args: Any) -> None:
        raise RedisError

    monkeypatch.setattr(people.redis(), "incr", lost)
    user.groups.clear()
    monkeypatch.undo()
    monkeypatch.setattr(snapshot, "FRESH_SECONDS", 60.0)
    assert client.get("/jobs/").status_code == 403  # which reads them anew
    assert poll(client, "/dead/", rev).status_code == 403


def test_rights_that_were_read_anew_do_not_revive_who_was_let_in_before(
    olga: tuple[Client, User, str],
) -> None:
    """Another browser's poll has read the user by now; this one's part is of the rights before."""
    client, user, rev = olga
    user.groups.clear()
    roles.give(user, "viewer")
    other = Client()
    other.force_login(user)
    assert poll(other, "/dead/").status_code == 200
    answer = poll(client, "/dead/", rev)
    assert answer.status_code == 200
    assert "Requeue" not in answer.content.decode()


def test_a_session_that_grows_too_old_meanwhile_ends_in_time(
    olga: tuple[Client, User, str], settings: Settings
) -> None:
    client, _, rev = olga
    polls._let_in.clear()
    settings.SESSION_MAX_SECONDS = 20
    assert poll(client, "/dead/", rev).status_code == 204
    (known,) = polls._let_in._values.values()
    assert known.until - time.monotonic() <= 20


def test_who_was_let_in_is_let_in_anew_once_the_session_is_too_old(
    olga: tuple[Client, User, str],
) -> None:
    client, _, rev = olga
    ((name, known),) = polls._let_in._values.items()
    polls._let_in.put(name, replace(known, until=time.monotonic() - 1))
    answer = poll(client, "/dead/", rev)
    assert (answer.status_code, went_whole_way(answer)) == (204, True)


def test_nobody_is_let_in_for_longer_than_two_minutes(
    olga: tuple[Client, User, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, user, rev = olga
    known = people._kept.get(people._name(user.pk))
    assert known
    assert known.until - time.monotonic() <= 120
    monkeypatch.setattr(people, "time", SimpleNamespace(monotonic=lambda: known.until + 1))
    answer = poll(client, "/dead/", rev)
    assert (answer.status_code, went_whole_way(answer)) == (204, True)


def test_rights_that_are_kept_no_longer_are_read_again(olga: tuple[Client, User, str]) -> None:
    client, _, rev = olga
    people.forget()
    answer = poll(client, "/dead/", rev)
    assert (answer.status_code, went_whole_way(answer)) == (204, True)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/jobs/?rev=REV", {}),
        ("/dead/?type=page_probe&rev=REV", {}),
        ("/dead/?rev=REV&type=page_probe", {}),
        ("/dead/", {}),
        ("/dead/?rev=REV&rev=REV", {}),
        ("/dead/?rev=REV-kept", {}),
        ("/dead/?rev=REV-MongoDB", {}),
        ("/dead/?rev=REV", {"HTTP_HX_HISTORY_RESTORE_REQUEST": "true"}),
        ("/dead/?rev=REV", {"HTTP_HX_REQUEST": "false"}),
        ("/dead/?rev=REV", {"HTTP_HOST": "127.0.0.1"}),
        ("/dead/?rev=REV", {"wsgi.url_scheme": "https"}),
    ],
)
def test_what_is_asked_otherwise_goes_the_whole_way(
    olga: tuple[Client, User, str], path: str, headers: dict[str, str]
) -> None:
    client, _, rev = olga
    answer = client.get(path.replace("REV", rev), **FRAGMENT | headers)
    assert went_whole_way(answer)


def test_nobody_goes_the_short_way_of_another(olga: tuple[Client, User, str]) -> None:
    _, _, rev = olga
    stranger = Client()
    for session in ("", "x" * 32):
        stranger.cookies["sessionid"] = session
        assert poll(stranger, "/dead/", rev).status_code == 401


def test_what_has_changed_is_built_the_whole_way_and_told_to_all_by_the_short_one(
    olga: tuple[Client, User, str], client_of: Callable[..., Client], line: Line
) -> None:
    client, _, rev = olga
    other = client_of("operator")
    other.get("/dead/")
    poll(other, "/dead/", rev)
    line.dead()
    snapshot.forget()
    built, told = poll(client, "/dead/", rev), poll(other, "/dead/", rev)
    assert (went_whole_way(built), went_whole_way(told)) == (True, False)
    assert told.content == built.content
    assert rev_of(told) != rev


def test_a_part_that_is_too_large_is_not_kept_rendered(
    olga: tuple[Client, User, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _, _ = olga
    polls._bodies.clear()
    monkeypatch.setattr(polls, "MOST_BYTES", 10)
    assert [went_whole_way(poll(client, "/dead/")) for _ in range(2)] == [True, True]


def test_while_a_store_is_known_to_be_away_polls_go_the_whole_way(
    olga: tuple[Client, User, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _, rev = olga
    monkeypatch.setattr(outages.mongodb, "since", datetime.now(UTC))
    answer = poll(client, "/dead/", rev)
    assert went_whole_way(answer)
    assert "MongoDB" in answer.content.decode()
