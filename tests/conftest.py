"""Real stores for the tests: one MongoDB and one Redis a run, a database and key prefix a test.

Tests in `unit` touch no store and run without them.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import connection, connections

from jobs import clients, selectors, services
from taskqueue import embedded

_running = ExitStack()
WEB_MODELS = (ContentType, Permission, Group, User, Session)


def pytest_configure(config: pytest.Config) -> None:
    """Start the stores once, before xdist's workers, which inherit their addresses."""
    if "PYTEST_XDIST_WORKER" not in os.environ and not config.option.collectonly:
        data = Path(tempfile.mkdtemp(prefix="taskqueue-test-"))
        _running.callback(shutil.rmtree, data, ignore_errors=True)
        os.environ.update(_running.enter_context(embedded.running(data)))
        os.environ["DATA_DIR"] = str(data)
    _use_stores()


def pytest_unconfigure() -> None:
    _running.close()


def _use_stores() -> None:
    if "MONGODB_URI" not in os.environ:
        return
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
        MEDIA_ROOT=tmp_path / "files", DATA_DIR=tmp_path, STORAGES=storages, SECRET_KEY="test"
    ):
        yield


def _create(models: Any) -> None:
    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)


@pytest.fixture
def stores() -> Iterator[str]:
    """A database with the jobs' indexes and a Redis prefix that no other test has."""
    name = f"t_{ObjectId()}"
    previous = (settings.MONGODB_DATABASE, settings.REDIS_PREFIX)
    settings.MONGODB_DATABASE, settings.REDIS_PREFIX = name, name
    _connect_to(name)
    _create(model for model in apps.get_app_config("jobs").get_models())
    services._know_queue.cache_clear()
    selectors.forget_stats()
    yield name
    connection.connection.drop_database(name)
    redis = clients.redis()
    if keys := list(redis.scan_iter(f"{name}:*", count=1000)):
        redis.delete(*keys)
    settings.MONGODB_DATABASE, settings.REDIS_PREFIX = previous


def _connect_to(name: str) -> None:
    wrapper = connections["default"]
    wrapper.settings_dict["NAME"] = name
    wrapper.connection = None
    vars(wrapper).pop("database", None)
    wrapper.connect()


@pytest.fixture
def web(stores: str) -> str:
    """The stores, with Django's own collections for users and sessions."""
    _create(WEB_MODELS)
    return stores


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
