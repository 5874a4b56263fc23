"""Real stores for the tests: one MongoDB and one Redis a run, a database and key prefix a test.

Tests in `unit` touch no store and run without them.
"""

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessAttemptExpiration, AccessLog
from bson import ObjectId
from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import connection, connections
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from jobs import audit, clients, counting, counts, lanes, limits, outages, series, services
from taskqueue import embedded

_running = ExitStack()
LOGINS = (AccessAttempt, AccessAttemptExpiration, AccessLog)
# What roles are made of: always the same, and long to make.
LASTING = {ContentType._meta.db_table, Permission._meta.db_table}
LONGEST = (
    "test_every_page_is_open_to_everybody",
    "test_what_is_described_is_what_is_answered",
    "test_after_a_first_run_that_was_interrupted",
    "test_no_interleaving_breaks_a_job",
)
WEB_MODELS = (LogEntry, ContentType, Permission, Group, User, Session, *LOGINS)


def pytest_configure(config: pytest.Config) -> None:
    """Start the stores once, before xdist's workers, which inherit their addresses."""
    if "PYTEST_XDIST_WORKER" not in os.environ and not config.option.collectonly:
        data = Path(tempfile.mkdtemp(prefix="taskqueue-test-"))
        _running.callback(shutil.rmtree, data, ignore_errors=True)
        os.environ.update(_running.enter_context(embedded.running(data)))
        os.environ["DATA_DIR"] = str(data)
        os.environ.setdefault("CHAOS_SEED", str(random.randrange(10**6)))
    _use_stores()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, so that nobody waits for one of them at the end."""
    items.sort(key=lambda item: not item.name.startswith(LONGEST))


def pytest_unconfigure() -> None:
    _running.close()


def _use_stores() -> None:
    if "MONGODB_URI" not in os.environ:
        return
    # A name for those who run tests beside each other: nobody aborts another's transactions.
    name = f"test-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    os.environ["MONGODB_URI"] = (
        f"{os.environ['MONGODB_URI'].partition('&appName')[0]}&appName={name}"
    )
    settings.DATABASES["default"]["OPTIONS"]["appname"] = name
    settings.MONGODB_URI = os.environ["MONGODB_URI"]
    settings.DATABASES["default"]["HOST"] = os.environ["MONGODB_URI"]
    settings.REDIS_URL = settings.CACHES["default"]["LOCATION"] = os.environ["REDIS_URL"]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> Iterator[None]:
    """Give each test its own folder for files and mail, and static files without a manifest."""
    from django.test import override_settings

    storages = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    with override_settings(
        MEDIA_ROOT=tmp_path / "files",
        DATA_DIR=tmp_path,
        STORAGES=storages,
        SECRET_KEY="test",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # quick
    ):
        yield


def _create(models: Any) -> None:
    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)


@pytest.fixture(scope="session")
def database() -> str:
    """A database with every collection and index; no other process of the tests has it.

    One a process, emptied for each test: MongoDB holds the files of what is dropped open for a
    minute, and a thousand databases a minute are more files than it may open. Nor is it dropped at
    the end, which would wait for a transaction of somebody who was killed: the server goes with it.
    """
    name = f"t_{ObjectId()}"
    _connect_to(name)
    _create([*apps.get_app_config("jobs").get_models(), *WEB_MODELS])
    return name


@pytest.fixture(scope="session")
def one_connection(database: str) -> Iterator[Database[Any]]:
    """That database by one connection of its own: MongoDB does what comes by it in that order."""
    with MongoClient(os.environ["MONGODB_URI"], maxPoolSize=1) as client:
        yield client[database]


def _empty(database: Database[Any]) -> None:
    # No answer is waited for but the last: a majority has what was done before it too.
    unheard = WriteConcern(w=0)
    for name in sorted(set(database.list_collection_names()) - LASTING):
        database.get_collection(name, write_concern=unheard).delete_many({})
    database.get_collection("jobs", write_concern=clients.DURABLE).delete_many({})


@pytest.fixture
def stores(database: str, one_connection: Database[Any]) -> Iterator[str]:
    """An empty database with all indexes, and a Redis prefix that no other test has."""
    prefix = f"t_{ObjectId()}"
    previous = (settings.MONGODB_DATABASE, settings.REDIS_PREFIX)
    settings.MONGODB_DATABASE, settings.REDIS_PREFIX = database, prefix
    _connect_to(database)
    counting.abort_abandoned(0.0)  # of what the last test killed
    _empty(one_connection)
    services._know_queue.cache_clear()
    counts.forget()
    series.forget()
    outages.forget()
    audit.refusals.forget()
    for breaker in (lanes._breaker, limits._breaker):  # which the last test may have tripped
        breaker.closed_at = float("-inf")
    yield database
    redis = clients.redis()
    if keys := list(redis.scan_iter(f"{prefix}:*", count=1000)):
        redis.delete(*keys)
    settings.MONGODB_DATABASE, settings.REDIS_PREFIX = previous


@pytest.fixture
def no_redis(stores: str, settings: Any) -> Iterator[None]:
    """Have nobody answer where Redis should be."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    yield
    clients._shared_redis.cache_clear()
    outages.forget()


def _connect_to(name: str) -> None:
    wrapper = connections["default"]
    wrapper.settings_dict["NAME"] = name
    wrapper.connection = None
    vars(wrapper).pop("database", None)
    wrapper.connect()


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait for a condition with a deadline: `until(lambda: job().status == "completed")`."""

    def wait(condition: Callable[[], Any], seconds: float = 30, every: float = 0.02) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not within {seconds} s"
            time.sleep(every)
        return value

    return wait
