"""What the tests of pages share: a client of each role, jobs in every state, and a browser."""

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from bson import ObjectId
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright
from pymongo.monitoring import CommandListener
from pytest_django.plugin import DjangoDbBlocker
from redis.connection import AbstractConnection

from jobs import mongodb, registry, repository, roles, selectors, services
from jobs.claims import ClaimedJob
from jobs.models import AuditEntry
from jobs.states import State
from tests.conftest import _connect_to
from tests.web.screenshots import CHROMIUM_ARGS

HOSTILE = '"><svg onload=alert(1)></script><img src=x onerror=alert(2)>'
FRAGMENT = {"HTTP_HX_REQUEST": "true"}
NAME = "page_probe"
expect.set_options(timeout=30_000)  # a deadline, on a machine that is busy with other tests


@pytest.fixture(autouse=True)
def _database(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let Django reach MongoDB: the `stores` fixture makes and drops the database itself."""
    with django_db_blocker.unblock():
        yield


class Commands(CommandListener):
    """The names of the commands that MongoDB was sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: Any) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


@pytest.fixture
def commands(stores: str) -> Iterator[Commands]:
    wrapper = connections["default"]
    listener, options = Commands(), wrapper.settings_dict["OPTIONS"]
    pool = wrapper._connection_pools.pop("default")
    wrapper.settings_dict["OPTIONS"] = {**options, "event_listeners": [listener]}
    _connect_to(stores)
    yield listener
    wrapper._connection_pools.pop("default").close()
    wrapper.settings_dict["OPTIONS"] = options
    wrapper._connection_pools["default"] = pool
    _connect_to(stores)


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


def changes() -> list[str]:
    """Return what was done, as the audit has it: no refusal, and no coming and going."""
    done = AuditEntry.objects.exclude(action__in=["login", "logout"]).filter(refused=False)
    return [entry.action for entry in done]


@pytest.fixture
def endless(stores: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job, and searches for jobs that never end by themselves."""
    services.enqueue("process_data", {"action": "describe", "records": []}, max_attempts=1)
    for_ever = {"$where": "function() { while (true) {} }"}
    monkeypatch.setattr(selectors, "selection", lambda *_, **__: for_ever)
    monkeypatch.setattr(mongodb, "QUERY_SECONDS", 0.2)
    legal = {action: [state.value for state in State] for action in services.ALLOWED}
    monkeypatch.setattr(services, "ALLOWED", legal)


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


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(stores: str) -> Iterator[str]:
    """The site on a port of its own, in this process: it sees this test's stores."""
    # Each thread makes its own connection from the settings: they must name this test's database.
    served = connections["default"].settings_dict
    previous = connections.settings["default"]
    connections.settings["default"] = served
    application = StaticFilesHandler(get_wsgi_application())
    server = make_server("127.0.0.1", 0, application, _Server, _Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
    connections.settings["default"] = previous


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None and not os.environ.get("CI"):
        pytest.skip("no chromium on PATH")
    assert path, "CI must have chromium: these tests may not be skipped there"
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        # It runs an event loop in this thread, which Django would take for an async view.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(
            executable_path=path, args=CHROMIUM_ARGS, timeout=90_000
        )
        yield browser
        browser.close()


def logged_in(browser: Browser, url: str, name: str = "olga") -> BrowserContext:
    """Return the browser of somebody who may do everything, without the login's three pages."""
    client = Client()
    client.force_login(User.objects.create_superuser(name, password="correct horse"))
    context = browser.new_context(base_url=url)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": url}])
    return context


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was sent to Redis: an entry for each time that its answer is waited for."""
    sent: list[bytes] = []
    send = AbstractConnection.send_packed_command

    def note(self: Any, command: Any, *args: Any, **options: Any) -> None:
        sent.append(b"".join(command) if isinstance(command, list) else command)
        send(self, command, *args, **options)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", note)
    return sent


def rev_of(answer: Any) -> str:
    found = re.search(r'name="rev" value="([^"]+)"', answer.content.decode())
    assert found
    return found[1]


def poll(client: Client, path: str, rev: str = "") -> Any:
    return client.get(f"{path}{'&' if '?' in path else '?'}rev={rev}", **FRAGMENT)
