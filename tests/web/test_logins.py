"""Logging in: lockouts, what ends them, and how long a session lasts."""

import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from jobs import mongodb, roles
from jobs.clients import collection
from jobs.models import AuditEntry
from tests.web.conftest import FRAGMENT

pytestmark = pytest.mark.usefixtures("stores")

PASSWORD, WRONG = "correct horse battery", "wrong horse battery"
LOGIN, ADMIN = "/login/", "/admin/login/"


@pytest.fixture(autouse=True)
def olga(stores: str) -> User:
    made = User.objects.create_user("olga", password=PASSWORD)
    roles.give(made, "admin")
    return made


def attempt(
    name: str = "olga", password: str = WRONG, address: str = "10.0.0.1", at: str = LOGIN
) -> int:
    form = {"username": name, "password": password}
    return Client(REMOTE_ADDR=address).post(at, form).status_code


def failed(times: int, **said: str) -> list[int]:
    return [attempt(**said) for _ in range(times)]


def aged(seconds: float) -> None:
    """Have every failed login happen so much earlier."""
    for kept in AccessAttempt.objects.all():
        earlier = kept.attempt_time - timedelta(seconds=seconds)
        AccessAttempt.objects.filter(pk=kept.pk).update(attempt_time=earlier)


@pytest.mark.parametrize("at", [LOGIN, ADMIN])
def test_six_bad_logins_lock_a_name_for_an_address(at: str) -> None:
    assert failed(6, at=at) == [200] * 5 + [429]
    assert attempt(password=PASSWORD, at=at) == 429
    assert attempt(password=PASSWORD, at=LOGIN) == 429
    assert attempt(password=PASSWORD, at=ADMIN) == 429
    assert attempt(password=PASSWORD, address="10.0.0.2") == 302


def test_five_bad_logins_do_not_and_a_good_one_wipes_them_out() -> None:
    failed(5)
    assert attempt(password=PASSWORD) == 302
    failed(5)
    assert attempt(password=PASSWORD) == 302


def test_a_lockout_is_the_same_for_a_name_that_does_not_exist() -> None:
    failed(6)
    failed(6, name="nobody")
    pages = [
        Client(REMOTE_ADDR="10.0.0.1").post(LOGIN, {"username": name, "password": "x"})
        for name in ("olga", "nobody")
    ]
    assert pages[0].status_code == pages[1].status_code == 429
    assert pages[0]["Retry-After"] == "900"
    # But for the CSRF token, and when each of them was made.
    texts = [re.sub(r'\w{64}|data-now="\d+"', "", page.content.decode()) for page in pages]
    assert "Wait 15 minutes" in texts[0]
    assert "olga" not in texts[0]
    assert texts[0] == texts[1]


def test_a_lockout_is_in_mongodb_and_no_cache() -> None:
    failed(6)
    cache.clear()
    assert collection("axes_accessattempt").count_documents({}) == 1
    assert attempt(password=PASSWORD) == 429


def test_a_lockout_ends_by_time_and_trying_meanwhile_does_not_prolong_it() -> None:
    failed(6)
    aged(890)
    assert attempt(password=PASSWORD) == 429
    aged(20)
    assert attempt(password=PASSWORD) == 302


def test_a_lockout_ends_by_the_command() -> None:
    failed(6)
    out = StringIO()
    call_command("unlock", "olga", stdout=out)
    assert "6 failed logins are forgotten" in out.getvalue()
    assert attempt(password=PASSWORD) == 302
    assert AuditEntry.objects.filter(action="unlock", target="olga").count() == 1


def test_a_lockout_ends_by_an_admin(client_of: Callable[..., Client]) -> None:
    failed(6)
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    address = reverse("admin:axes_accessattempt_changelist")
    assert b"10.0.0.1" in root.get(address).content
    (kept,) = AccessAttempt.objects.all()
    chosen = {"action": "unlock", "_selected_action": [str(kept.pk)]}
    assert client_of("operator").post(address, chosen).status_code in (302, 403)
    assert attempt(password=PASSWORD) == 429
    root.post(address, chosen)
    assert attempt(password=PASSWORD) == 302


def test_many_addresses_against_one_name_are_stopped_but_not_its_own_place() -> None:
    home = "10.9.9.9"
    assert attempt(password=PASSWORD, address=home) == 302
    for place in range(6):
        failed(5, address=f"10.1.0.{place}")
    assert attempt(password=PASSWORD, address="10.1.1.1") == 429
    assert attempt(password=PASSWORD, address=home) == 302


def test_one_address_against_many_names_is_stopped() -> None:
    for n in range(30):
        attempt(name=f"user{n}")
    assert attempt(password=PASSWORD) == 429
    assert attempt(password=PASSWORD, address="10.0.0.2") == 302


def test_behind_a_proxy_the_client_is_who_is_locked(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = 1
    form = {"username": "olga", "password": "wrong"}
    for _ in range(6):
        Client(headers={"X-Forwarded-For": "1.1.1.1, 192.0.2.7"}).post(LOGIN, form)
    form["password"] = PASSWORD
    other = Client(headers={"X-Forwarded-For": "192.0.2.7, 192.0.2.8"})
    assert other.post(LOGIN, form).status_code == 302
    same = Client(headers={"X-Forwarded-For": "9.9.9.9, 192.0.2.7"})
    assert same.post(LOGIN, form).status_code == 429


def test_no_failed_login_keeps_a_password() -> None:
    failed(2, password="s3cret-typed")
    assert "s3cret-typed" not in str(list(collection("axes_accessattempt").find()))


# --- sessions ---------------------------------------------------------------------------------


@pytest.fixture
def client() -> Client:
    client = Client()
    client.post(LOGIN, {"username": "olga", "password": PASSWORD})
    return client


def pass_time(client: Client, seconds: float, *names: str) -> None:
    session = client.session
    for name in names:
        session[name] -= seconds
    session.save()


def test_the_key_of_a_session_is_new_at_login_and_gone_at_logout() -> None:
    client = Client()
    session = client.session
    session["kept"] = "since before"
    session.save()
    before = client.cookies["sessionid"] = session.session_key
    client.post(LOGIN, {"username": "olga", "password": PASSWORD})
    during = client.cookies["sessionid"].value
    assert during != before
    assert client.get("/logout/").status_code == 405
    client.post("/logout/")
    for key in (before, during):
        stale = Client()
        stale.cookies["sessionid"] = key
        assert stale.get("/").status_code == 302


def test_a_session_that_is_not_used_ends(client: Client) -> None:
    assert client.get("/").status_code == 200
    pass_time(client, 8 * 3600 - 60, "used")
    assert client.get("/").status_code == 200
    pass_time(client, 8 * 3600 + 60, "used")
    assert client.get("/").status_code == 302


def test_a_page_that_is_left_open_does_not_keep_its_session(client: Client) -> None:
    client.get("/")
    for _ in range(4):
        pass_time(client, 2 * 3600 + 60, "used")
        answer = client.get("/", **FRAGMENT)
    assert answer.status_code == 401
    assert client.get("/").status_code == 302


def test_what_a_person_does_keeps_it(client: Client) -> None:
    client.get("/")
    for _ in range(4):
        pass_time(client, 2 * 3600 + 60, "used")
        assert client.get("/jobs/").status_code == 200
    pass_time(client, 7 * 3600, "used")
    assert client.post("/jobs/0/cancel/", **FRAGMENT).status_code == 400
    pass_time(client, 7 * 3600, "used")
    assert client.get("/").status_code == 200


def test_no_session_lasts_longer_than_the_longest(client: Client) -> None:
    client.get("/")
    pass_time(client, 7 * 86400 + 60, "began")
    assert client.get("/").status_code == 302
    assert Session.objects.count() <= 1  # of the browser, and it is nobody's


def test_the_api_ends_sessions_alike(client: Client) -> None:
    assert client.get("/api/v1/jobs/").status_code == 200
    pass_time(client, 8 * 3600 + 60, "used")
    assert client.get("/api/v1/jobs/").status_code == 401


def test_a_new_password_ends_the_other_sessions(client: Client) -> None:
    other = Client()
    other.post(LOGIN, {"username": "olga", "password": PASSWORD})
    new = "battery staple horse"
    answer = client.post(
        "/admin/password_change/",
        {"old_password": PASSWORD, "new_password1": new, "new_password2": new},
    )
    assert answer.status_code == 302
    assert client.get("/").status_code == 200
    assert other.get("/").status_code == 302


@pytest.mark.parametrize(
    "password", ["short pass", "123456789012345", "olga.petrova", "password1234"]
)
def test_a_weak_password_is_refused(password: str) -> None:
    with pytest.raises(ValidationError):
        validate_password(password, User(username="olga", email="olga.petrova@example.org"))


def test_time_is_that_of_mongodb(client: Client) -> None:
    client.get("/")
    assert abs(client.session["used"] - mongodb.now().timestamp()) < 5
