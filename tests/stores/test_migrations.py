"""The steps from an older database to this one."""

from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO

import pytest
from bson import ObjectId
from django.core.management import call_command
from django.db import connection
from pytest_django import DjangoDbBlocker

from jobs import counting, fingerprint, roles, tokens
from jobs.clients import collection
from jobs.models import Job
from tests.conftest import _connect_to


@pytest.fixture
def older(stores: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database as the version before left it, without any count."""
    name = f"t_{ObjectId()}"
    _connect_to(name)
    with django_db_blocker.unblock():
        call_command("migrate", "jobs", "0002", stdout=StringIO())
        yield
    connection.connection.drop_database(name)
    _connect_to(stores)


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
