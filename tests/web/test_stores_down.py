"""Stores that are really stopped: every page says so, and shows what was last read."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from pymongo.errors import AutoReconnect
from pytest_django.fixtures import Settings
from pytest_django.plugin import DjangoDbBlocker

from jobs import outages, people, roles, services, sessions, snapshot
from jobs.clients import mongo
from tests.conftest import WEB_MODELS, _connect_to, _create
from tests.system.faults.stores import Redis, ReplicaSet
from tests.web.conftest import FRAGMENT, rev_of

PAGES = ["/", "/jobs/", "/dead/", "/queues/", "/workers/", "/audit/", "/operations/"]
MAIL = {"to": "a@example.org", "subject": "Hi"}


@dataclass
class Stores:
    mongodb: ReplicaSet
    redis: Redis


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder: Path = tmp_path_factory.mktemp("stores")
    made = Stores(ReplicaSet(folder), Redis(folder / "redis"))
    made.mongodb.start()
    made.redis.start()
    yield made
    made.mongodb.stop()
    made.redis.kill()


@pytest.fixture(scope="module")
def connected(database: str, servers: Stores, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Django on stores that nobody else has, and that a test may stop."""
    wrapper = connections["default"]
    before, pool = dict(wrapper.settings_dict), wrapper._connection_pools.pop("default")
    options = {**before["OPTIONS"], "serverSelectionTimeoutMS": 300}
    wrapper.settings_dict |= {"HOST": servers.mongodb.uri("down"), "OPTIONS": options}
    with django_db_blocker.unblock():
        _connect_to("down")
        _create([*apps.get_app_config("jobs").get_models(), *WEB_MODELS])
        yield
        wrapper._connection_pools.pop("default").close()
        wrapper.settings_dict |= before
        wrapper._connection_pools["default"] = pool
        _connect_to(database)


def _is_heard() -> bool:
    """Whether this process has found MongoDB again; it waits no longer than a page would."""
    with suppress(AutoReconnect):
        return bool(mongo().command("ping")["ok"])
    return False


@pytest.fixture
def own(
    connected: None, servers: Stores, settings: Settings, until: Callable[..., Any]
) -> Iterator[Stores]:
    """Both of them up, and empty."""
    if servers.redis.process is None or servers.redis.process.poll() is not None:
        servers.redis.start()
    if (single := servers.mongodb.single).process and single.process.poll() is not None:
        single.start()
        servers.mongodb.wait_for_primary()
    until(_is_heard)
    settings.REDIS_URL, settings.REDIS_PREFIX = servers.redis.url, f"t_{ObjectId()}"
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": servers.redis.url}}
    for collection in mongo().list_collection_names():
        mongo()[collection].delete_many({})
    services._know_queue.cache_clear()
    for module in (outages, people, snapshot):
        module.forget()
    yield servers
    outages.forget()


@pytest.fixture
def operator(own: Stores) -> Client:
    """An operator who has just looked at every page, and had a job accepted."""
    user = User.objects.create_user("olga", password="x")
    roles.give(user, "admin")
    services.enqueue("send_email", MAIL)
    client = Client()
    client.force_login(user)
    for path in PAGES:
        assert client.get(path).status_code == 200
    return client


def _shows(client: Client, path: str, store: str) -> None:
    """Both the whole page and its part answer with the banner; the part once, then 204."""
    whole = client.get(path)
    part = client.get(path, {"rev": "an older one"}, **FRAGMENT)
    for answer in (whole, part):
        text = answer.content.decode()
        assert answer.status_code in (200, 286), path
        assert f"<strong>{store} does not answer, since" in text, path
        assert 'href="/readyz"' in text
    rev = rev_of(part)
    assert client.get(path, {"rev": rev}, **FRAGMENT).status_code == 204, path


def test_redis_stopped(operator: Client, own: Stores, until: Callable[..., Any]) -> None:
    own.redis.kill()
    for path in PAGES:
        _shows(operator, path, "Redis")
    assert "New ones are accepted" in operator.get("/").content.decode()
    id = services.enqueue("send_email", MAIL)
    assert id in operator.get("/jobs/").content.decode()
    assert operator.post(f"/jobs/{id}/cancel/").status_code == 302
    own.redis.start()
    until(lambda: b"does not answer" not in operator.get("/jobs/").content)


def test_mongodb_stopped(operator: Client, own: Stores, until: Callable[..., Any]) -> None:
    rev = rev_of(operator.get("/jobs/"))
    own.mongodb.single.kill()
    for path in PAGES:
        _shows(operator, path, "MongoDB")
    text = operator.get("/jobs/").content.decode()
    assert "none that was accepted is lost" in text
    assert "Shown is what was last read" in text
    assert "send_email" in text
    refused = operator.post("/queues/default/pause/", **FRAGMENT)
    assert refused.status_code == 503
    assert operator.get("/jobs/new/").status_code == 200
    missing = operator.get("/jobs/?q=never-looked-at")
    assert missing.status_code == 503
    assert "Nothing that was accepted is lost" in missing.content.decode()
    kept = operator.get("/jobs/")
    own.mongodb.single.start()
    own.mongodb.wait_for_primary()
    until(lambda: operator.get("/jobs/", {"rev": rev}, **FRAGMENT).status_code == 204)
    asked = operator.get("/jobs/", {"rev": rev_of(kept)}, **FRAGMENT)
    assert asked["HX-Refresh"] == "true"
    assert b"does not answer" not in operator.get("/jobs/").content


def test_both_stopped(operator: Client, own: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    own.redis.kill()
    for path in PAGES:
        _shows(operator, path, "Redis")
    own.mongodb.single.kill()
    for path in PAGES:
        _shows(operator, path, "MongoDB")
        _shows(operator, path, "Redis")
    monkeypatch.setattr(sessions, "LATELY_SECONDS", -3600.0)  # as if it was left an hour ago
    assert operator.get("/jobs/").status_code == 503


def test_a_stranger_sees_nothing_of_what_is_kept(operator: Client, own: Stores) -> None:
    nobody = Client()
    nobody.force_login(User.objects.create_user("nobody"))
    assert nobody.get("/jobs/").status_code == 403
    own.mongodb.single.kill()
    assert Client().get("/jobs/").status_code == 302
    assert nobody.get("/jobs/").status_code == 403
    forged = Client()
    forged.cookies["sessionid"] = "a" * 32
    assert forged.get("/jobs/").status_code == 503
