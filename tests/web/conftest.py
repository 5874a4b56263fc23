"""What the tests of pages share: a client of each role, and jobs in every state."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import ObjectId
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.plugin import DjangoDbBlocker

from jobs import registry, repository, roles, services
from jobs.claims import ClaimedJob

HOSTILE = '"><svg onload=alert(1)></script><img src=x onerror=alert(2)>'
FRAGMENT = {"HTTP_HX_REQUEST": "true"}
NAME = "page_probe"


@pytest.fixture(autouse=True)
def _database(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let Django reach MongoDB: the `stores` fixture makes and drops the database itself."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture
def client_of(stores: str) -> Callable[..., Client]:
    """Make a logged-in client of a role; `""` has none, `None` is nobody."""

    def make(role: str | None, **options: Any) -> Client:
        client = Client(**options)
        if role is not None:
            user = User.objects.create_user(f"{role or 'nobody'}-{ObjectId()}")
            if role:
                roles.give(user, role)  # type: ignore[arg-type]
            client.force_login(user)
        return client

    return make


@pytest.fixture
def operator(client_of: Callable[..., Client]) -> Client:
    return client_of("operator")


@pytest.fixture
def viewer(client_of: Callable[..., Client]) -> Client:
    return client_of("viewer")


@pytest.fixture
def probe(stores: str) -> Iterator[str]:
    """A job type that takes any text; it is called by no page: that would raise."""

    @registry.job(name=NAME)
    def run(text: str = "") -> None:
        raise AssertionError("a page must not run a job")

    yield NAME
    registry._types.pop(NAME)


class Line:
    """Jobs of the probe, moved into each state by the services."""

    def __init__(self) -> None:
        self.worker = ObjectId()
        services.register_worker(
            self.worker,
            ["default"],
            supervisor=ObjectId(),
            host="host.example",
            pid=7,
            concurrency=1,
            version="9.9",
        )

    def pending(self, text: str = "", **chosen: Any) -> str:
        return services.enqueue(NAME, {"text": text}, **chosen)

    def running(self, **chosen: Any) -> str:
        id = self.pending(**chosen)
        self._claim(id)
        return id

    def completed(self, result: Any = None, **chosen: Any) -> str:
        id = self.pending(**chosen)
        ended = time.monotonic()
        end = services.completion(self._claim(id), started=ended - 1, ended=ended, result=result)
        services.record(self.worker, [end])
        return id

    def failed(self, error: str = "it broke", **chosen: Any) -> str:
        id = self.pending(**chosen)
        ended = time.monotonic()
        details = {"error": error, "error_type": "ValueError", "traceback": f"line 1\n{error}"}
        end = services.failure(self._claim(id), started=ended - 1, ended=ended, **details)
        services.record(self.worker, [end])
        return id

    def dead(self, error: str = "it broke", **chosen: Any) -> str:
        return self.failed(error, max_attempts=1, **chosen)

    def _claim(self, id: str) -> ClaimedJob:
        (job,) = repository.claim([ObjectId(id)], self.worker)
        return job


@pytest.fixture
def line(probe: str) -> Line:
    return Line()
