"""What every answer carries, and what is answered to whom nobody knows."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from jobs import selectors
from tests.web.actors import api

pytestmark = pytest.mark.usefixtures("stores")
OPEN = {"/login/", "/healthz", "/readyz", "/admin/login/"}


def addresses(patterns: Any = None, before: str = "/") -> Iterator[str]:
    """Yield every address that the site has, each parameter filled with something."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        route = before + str(entry.pattern).lstrip("^").rstrip("$")
        if isinstance(entry, URLResolver):
            yield from addresses(entry.url_patterns, route)
        elif isinstance(entry, URLPattern):
            yield FILL(route)


def FILL(route: str) -> str:  # noqa: N802
    import re

    return re.sub(r"<[^>]+>", "0" * 24, re.sub(r"\(\?P<\w+>[^)]*\)", "jobs", route))


def test_nobody_gets_more_than_the_listed_addresses() -> None:
    found = sorted(set(addresses()))
    assert len(found) > 60
    answered = {path for path in found if Client().get(path).status_code == 200}
    assert answered == OPEN


def test_the_numbers_are_open_only_by_choice(settings: Any) -> None:
    assert Client().get("/metrics").status_code == 401
    settings.METRICS_OPEN = True
    assert b"taskqueue_jobs" in Client().get("/metrics").content


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client for whom any question is an error that nobody expected."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(selectors, "jobs", fail)
    client = api("viewer").client
    client.raise_request_exception = False
    return client


def policies(response: Any) -> dict[str, list[str]]:
    parts = [part.split() for part in response["Content-Security-Policy"].split(";")]
    return {name: values for name, *values in parts}


def _is_strict(response: Any) -> None:
    policy = policies(response)
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"]
    assert policy["script-src"] == policy["form-action"] == policy["connect-src"] == ["'self'"]
    assert not any("unsafe" in value for values in policy.values() for value in values)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in response["Permissions-Policy"]


def test_every_address_answers_with_the_policy() -> None:
    for path in set(addresses()):
        _is_strict(Client().get(path))


@pytest.mark.parametrize("path", ["/api/docs/", "/api/redoc/", "/api/schema/", "/api/v1/jobs/"])
def test_the_api_answers_with_the_policy(path: str) -> None:
    answer = api("viewer").client.get(path)
    assert answer.status_code == 200
    _is_strict(answer)


def test_an_error_that_nobody_expected_has_the_policy_too(broken: Client) -> None:
    answer = broken.get("/api/v1/jobs/")
    assert answer.status_code == 500
    _is_strict(answer)


def test_over_https_the_cookies_and_hsts_are_sent(settings: Any) -> None:
    settings.SECURE_HSTS_SECONDS, settings.SECURE_SSL_REDIRECT = 365 * 86400, True
    from django.middleware import security

    assert security.SecurityMiddleware  # its settings are read when the client is made
    answer = Client().get("/login/", secure=True)
    assert "max-age=31536000" in answer["Strict-Transport-Security"]
    plain = Client().get("/login/")
    assert (plain.status_code, plain["Location"]) == (301, "https://testserver/login/")


@pytest.mark.parametrize("path", ["jobs", "jobs/bulk", "dead/requeue", "queues/default/pause"])
def test_an_address_without_its_slash_is_no_way_past_csrf(path: str) -> None:
    from django.contrib.auth.models import User

    from jobs import roles

    client = Client(enforce_csrf_checks=True)
    operator = User.objects.create_user("olga")
    roles.give(operator, "operator")
    client.force_login(operator)
    for slash in ("", "/"):
        address = f"/api/v1/{path}{slash}"
        answer = client.post(address, "{}", content_type="application/json")
        assert answer.status_code == 403, address
        assert "CSRF" in answer.json()["detail"]
        assert Client().post(address, "{}", content_type="application/json").status_code == 401
