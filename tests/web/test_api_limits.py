"""Limits over HTTP: whose they are, what counts, and what a refusal says."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from jobs import services
from jobs.origin import address_of
from tests.web.actors import MAIL, Api, api, problem, stored, user

pytestmark = pytest.mark.usefixtures("stores")
JOB = {"type": "send_email", "payload": MAIL}


def test_over_the_limit_is_a_429_that_says_when(settings: Any) -> None:
    settings.RATE_LIMIT_READ = 2
    caller = api("viewer")
    assert [caller.get("stats/")["RateLimit-Remaining"] for _ in range(2)] == ["1", "0"]
    refused = caller.get("stats/")
    assert problem(refused, 429)["code"] == "throttled"
    assert 1 <= int(refused["Retry-After"]) <= 61
    assert (refused["RateLimit-Limit"], refused["RateLimit-Remaining"]) == ("2", "0")


def test_a_bulk_counts_each_of_its_jobs_and_is_all_or_none(settings: Any) -> None:
    settings.RATE_LIMIT_SUBMIT = 5
    caller = api()
    assert caller.post("jobs/bulk/", {"jobs": [JOB] * 3})["RateLimit-Remaining"] == "2"
    problem(caller.post("jobs/bulk/", {"jobs": [JOB] * 3}), 429)
    assert stored() == 3
    assert caller.post("jobs/", JOB).status_code == 201
    never = caller.post("jobs/bulk/", {"jobs": [JOB] * 6})
    assert "smaller parts" in problem(never, 429)["detail"]
    assert "Retry-After" not in never


def test_what_makes_no_sense_counts_as_one(settings: Any) -> None:
    settings.RATE_LIMIT_SUBMIT = 2
    caller = api()
    assert [caller.post("jobs/", body).status_code for body in ({}, "{", {})] == [400, 400, 429]


def test_changes_have_a_limit_of_their_own(settings: Any) -> None:
    settings.RATE_LIMIT_WRITE = 1
    caller = api()
    assert caller.post("queues/nope/pause/").status_code == 404
    problem(caller.post("queues/nope/pause/"), 429)
    assert caller.get("stats/").status_code == 200


def test_two_tokens_of_one_user_do_not_share(settings: Any) -> None:
    settings.RATE_LIMIT_READ = 1
    owner = user("viewer")
    assert [Api(owner).get("stats/").status_code for _ in range(3)] == [200, 200, 200]


def test_unknown_callers_are_counted_by_address(settings: Any) -> None:
    settings.RATE_LIMIT_UNKNOWN = 2
    wrong = Client(headers={"Authorization": "Token wrong"})
    statuses = [client.get("/api/v1/stats/").status_code for client in (wrong, Client(), wrong)]
    assert statuses == [401, 401, 429]
    assert Client(REMOTE_ADDR="192.0.2.7").get("/api/v1/stats/").status_code == 401
    assert api("viewer").get("stats/").status_code == 200  # whoever is known goes on


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "198.51.100.1", "127.0.0.1"),
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "203.0.113.66, 198.51.100.1", "198.51.100.1"),
        (2, "203.0.113.66, 198.51.100.1, 10.0.0.1", "198.51.100.1"),
        (1, "", "127.0.0.1"),
    ],
)
def test_an_address_is_believed_from_our_own_proxies_only(
    settings: Any, rf: Any, proxies: int, forwarded: str, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    assert address_of(rf.get("/", HTTP_X_FORWARDED_FOR=forwarded)) == address


def test_a_page_over_the_limit_says_so(settings: Any, client_of: Callable[..., Client]) -> None:
    settings.RATE_LIMIT_READ = 1
    client = client_of("viewer")
    assert client.get("/jobs/").status_code == 200
    refused = client.get("/jobs/")
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) >= 1
    assert "Too much within a minute" in refused.content.decode()


@pytest.fixture
def connected_threads() -> Iterator[None]:
    """Each thread makes its own connection from the settings: to this test's database."""
    previous = connections.settings["default"]
    connections.settings["default"] = connections["default"].settings_dict
    yield
    connections.settings["default"] = previous


@pytest.mark.usefixtures("connected_threads")
def test_fifty_clients_at_once_get_the_limit_and_no_more(settings: Any) -> None:
    settings.RATE_LIMIT_READ = 100
    headers = {"Authorization": f"Token {services.issue_token(user('viewer'), actor='tests')}"}

    def ask(_: int) -> list[int]:
        client = Client(headers=headers)
        statuses = [client.get("/api/v1/types/").status_code for _ in range(4)]
        connections.close_all()
        return statuses

    with ThreadPoolExecutor(50) as pool:
        statuses = [status for found in pool.map(ask, range(50)) for status in found]
    assert (statuses.count(200), statuses.count(429)) == (100, 100)
