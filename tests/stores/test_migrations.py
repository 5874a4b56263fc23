"""The steps from an older database to this one."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.migrations import RunPython
from pymongo.collection import Collection
from pymongo.database import Database
from pytest_django import DjangoDbBlocker

from jobs import counting, fingerprint, roles, tokens
from jobs.clients import collection, mongo
from jobs.models import Job
from tests.conftest import _connect_to

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def empty(stores: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Callable[[], None]]:
    """A database without any collection; call it for another one."""
    names = []

    def begin() -> None:
        names.append(f"t_{ObjectId()}")
        _connect_to(names[-1])
        ContentType.objects.clear_cache()

    with django_db_blocker.unblock():
        begin()
        yield begin
    for name in names:
        connection.connection.drop_database(name)
    _connect_to(stores)
    ContentType.objects.clear_cache()


@pytest.fixture
def older(empty: Callable[[], None]) -> None:
    """A database as the version before left it, without any count."""
    call_command("migrate", "jobs", "0002", stdout=StringIO())


def test_jobs_of_a_version_that_did_not_count_are_counted(older: None) -> None:
    jobs = [
        {"status": status, "queue": "default", "priority": "high", "attempts": []}
        for status in ("pending", "completed", "completed", "dead", "running", "what?")
    ]
    collection("jobs").insert_many(jobs)
    call_command("migrate", "jobs", stdout=StringIO())
    counted = {state: jobs for state, jobs in counting.totals().by_status.items() if jobs}
    assert counted == {"pending": 1, "completed": 2, "dead": 1, "running": 1}
    assert counting.miscounted() == {}


def test_dead_letters_of_a_version_that_did_not_group_are_grouped(older: None) -> None:
    dead = {"status": "dead", "queue": "default", "priority": "high", "type": "t"}
    attempts = [{"error_type": "OSError"}, {"error_type": "ValueError"}]
    collection("jobs").insert_many(
        [{**dead, "error": f"row {n}", "attempts": attempts} for n in range(3)]
    )
    collection("jobs").insert_one({**dead, "error": None, "attempts": []})
    call_command("migrate", "jobs", stdout=StringIO())
    found = {job["fingerprint"] for job in collection("jobs").find({"error": {"$ne": None}})}
    assert found == {fingerprint.of("t", "ValueError", "row 7")}
    assert collection("jobs").count_documents({"fingerprint": None}) == 0


def test_the_migrations_make_the_indexes_of_the_models(older: None) -> None:
    call_command("migrate", "jobs", stdout=StringIO())
    made = {index["name"] for index in collection("jobs").list_indexes()}
    assert made == {"_id_", *(index.name for index in Job._meta.indexes)}
    call_command("makemigrations", "jobs", check=True, dry_run=True, stdout=StringIO())


def test_tokens_and_roles_of_a_version_without_rights_go_on_working(older: None) -> None:
    group, user, token = ObjectId(), ObjectId(), "x" * 43
    person = {"username": "ci", "password": "!", "is_active": True, "is_superuser": False}
    collection("auth_user").insert_one({"_id": user, **person})
    collection("auth_group").insert_one({"_id": group, "name": "operator"})
    collection("auth_user_groups").insert_one({"user_id": user, "group_id": group})
    kept = {"user_id": user, "digest": tokens.digest(token), "created_at": datetime.now(UTC)}
    collection("api_tokens").insert_one(kept)
    call_command("migrate", "jobs", stdout=StringIO())
    found = tokens.identify(token)
    assert (found.name, found.role, found.queues) == ("ci", "", [])
    assert roles.rights_of(found.user) == roles.AT_FIRST["operator"]


# --- what was interrupted, or came too late ---------------------------------------------------


class Interrupted(BaseException):
    """The process ends here, as by Ctrl-C."""


WRITES: list[tuple[type, str]] = [
    (Database, "create_collection"),
    (Collection, "create_indexes"),
    (Collection, "drop_index"),
    (Collection, "drop"),
    (Collection, "update_many"),
    (RunPython, "database_forwards"),
]


def _text(value: Any) -> str:
    """A value that is the same in each run, as text."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, (dict, str, int)):
        return str(value)
    return str(getattr(value, "document", type(value).__name__))


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whatever a migration writes ends the process, the first time; returns what that was."""
    done: list[str] = []

    def ending(what: type, name: str) -> None:
        write = getattr(what, name)

        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = write(self, *args, **kwargs)
            place = self.code.__name__ if what is RunPython else self.name
            said = f"{name} {place} {_text(args[:1] if what is RunPython else args)}"
            if said not in done:
                done.append(said)
                raise Interrupted
            return result

        monkeypatch.setattr(what, name, wrapper)

    for what, name in WRITES:
        ending(what, name)
    return done


def _finish(*app: str) -> None:
    """Migrate until nothing interrupts it any more."""
    while True:
        try:
            call_command("migrate", *app, stdout=StringIO())
        except Interrupted:
            continue
        return


def _indexes() -> dict[str, Any]:
    names = set(mongo().list_collection_names()) - {"counters"}  # made once something was counted
    return {name: mongo()[name].index_information() for name in names}


def _rights() -> dict[str, set[str]]:
    return {
        group.name: set(group.permissions.values_list("codename", flat=True))
        for group in Group.objects.all()
    }


@pytest.mark.timeout(300)
def test_migrate_can_be_repeated_after_an_interruption_wherever_it_was(
    empty: Callable[[], None], interrupted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _finish()
    assert len(interrupted) > 100
    assert {said.split()[0] for said in interrupted} == {name for _, name in WRITES}
    indexes, rights = _indexes(), _rights()
    monkeypatch.undo()
    empty()
    call_command("migrate", stdout=StringIO())
    assert (indexes, rights) == (_indexes(), _rights())


def test_migrate_comes_after_workers_and_requests_and_leaves_what_they_wrote(
    empty: Callable[[], None],
) -> None:
    at = datetime.now(UTC).replace(microsecond=0)
    user = ObjectId()
    token = {"user_id": user, "digest": "d", "name": "nightly", "public": "abcdefgh"}
    written: dict[str, dict[str, Any]] = {
        "queues": {"_id": "mail", "paused_at": at, "paused_by": "ada", "paused_reason": "disk"},
        "workers": {"_id": ObjectId(), "host": "a", "queues": ["mail"], "quiet": True, "done": 3},
        "stewards": {"_id": ObjectId(), "host": "a", "at": at, "samples": {"1": 2}},
        "jobs": {"_id": ObjectId(), "status": "dead", "queue": "mail", "priority": "high"},
        "auth_user": {"_id": user, "username": "ci"},
        "api_tokens": {"_id": ObjectId(), **token},
    }
    for name, document in written.items():
        collection(name).insert_one(document)
    call_command("migrate", stdout=StringIO())
    for name, document in written.items():
        found = collection(name).find_one({"_id": document["_id"]}) or {}
        assert {field: found.get(field) for field in document} == document
    assert counting.miscounted() == {}
    indexes = _indexes()
    empty()
    call_command("migrate", stdout=StringIO())
    assert indexes == _indexes()


def test_migrate_that_was_killed_can_be_repeated(
    empty: Callable[[], None], until: Callable[..., Any]
) -> None:
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "taskqueue.settings"}
    env["MONGODB_URI"] = env["MONGODB_URI"].replace("/taskqueue", f"/{mongo().name}")
    command = [sys.executable, "manage.py", "migrate", "-v0"]
    killed = subprocess.Popen(command, cwd=ROOT, env=env)
    until(lambda: "jobs" in mongo().list_collection_names())
    killed.kill()
    assert killed.wait() < 0
    subprocess.run(command, cwd=ROOT, env=env, check=True)
    assert {index.name for index in Job._meta.indexes} <= _indexes()["jobs"].keys()


def test_migrate_waits_for_an_index_as_long_as_it_takes(stores: str) -> None:
    code = (
        "import django; django.setup()\n"
        "from django.core.management import call_command\n"
        "from django.db import connection\n"
        "call_command('migrate', plan=True, verbosity=0)\n"
        "print(connection.connection.options.pool_options.socket_timeout)\n"
        "print(connection.settings_dict['OPTIONS']['socketTimeoutMS'])\n"
    )
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "taskqueue.settings"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-2:] == ["None", "20000"]
