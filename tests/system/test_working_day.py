"""Who takes a copy of the stores and the logs after a working day, has no secret with it."""

import re
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings as plain
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django.fixtures import Settings
from pytest_django.plugin import DjangoDbBlocker

from jobs import roles
from jobs.clients import mongo, redis

WORD = "correct horse battery staple"
MISTYPED = "correct horse batttery staple"
SECRETS = [f"hunter-{how}-7f3a9c" for how in ("well", "fails", "crashes")]


def dump() -> str:
    """Return all that is in MongoDB and in Redis, and every session in clear."""
    database = mongo()
    found: list[Any] = [
        (name, row) for name in database.list_collection_names() for row in database[name].find()
    ]
    store = Session.get_session_store_class()()
    found += [store.decode(session.session_data) for session in Session.objects.all()]
    client = redis()
    for key in client.scan_iter(f"{plain.REDIS_PREFIX}*"):
        found += [key, client.dump(key), client.get(key) if client.type(key) == b"string" else ""]
    return repr(found)


@pytest.fixture(autouse=True)
def _pages(django_db_blocker: DjangoDbBlocker, settings: Settings) -> Any:
    settings.PAYLOAD_KEYS = [Fernet.generate_key().decode()]
    with django_db_blocker.unblock():
        yield


def test_a_dump_and_the_logs_hold_no_secret(
    tree: Any, until: Any, all_in: Any, settings: Settings, caplog: Any
) -> None:
    roles.make_groups()
    ada = User.objects.create_user("ada", password=WORD)
    roles.give(ada, "admin")
    browser = Client()
    browser.post("/login/", {"username": "ada", "password": MISTYPED})
    browser.post("/login/", {"username": "ada", "password": WORD})
    session = browser.cookies["sessionid"].value
    made = browser.post("/tokens/", {"name": "nightly", "role": "operator"}).content.decode()
    token = re.search(r"tq_[\w-]+", made)[0]  # type: ignore[index]

    program = Client(headers={"Authorization": f"Token {token}"})
    ids = {}
    for secret in SECRETS:
        how = secret.split("-")[1]
        job = {
            "type": "sign_in",
            "payload": {"name": "bo", "password": secret, "how": how},
        }
        answer = program.post(
            "/api/v1/jobs/", job, "application/json", headers={"Idempotency-Key": how}
        )
        assert answer.status_code == 201, answer.content
        ids[how] = answer.json()["id"]
    running = tree("--processes", "2", PAYLOAD_KEYS=settings.PAYLOAD_KEYS[0], JOB_MAX_CRASHES="2")
    all_in("completed", "dead")
    for id in ids.values():
        assert browser.get(f"/jobs/{id}/").status_code == 200
        assert not any(
            secret in program.get(f"/api/v1/jobs/{id}/").content.decode() for secret in SECRETS
        )
    revealed = browser.post(f"/jobs/{ids['well']}/reveal/").content.decode()
    assert SECRETS[0] in revealed

    printed = caplog.text
    taken = dump() + running.log + printed
    assert "may not enter with ••••••" in taken  # it looked where the secret would be
    assert "audit.login" in printed
    found = [
        needle
        for needle in (*SECRETS, WORD, MISTYPED, session, token, token[12:])
        if needle in taken
    ]
    assert not found
    stolen = Client()
    for row in Session.objects.all():
        stolen.cookies["sessionid"] = row.session_key
        assert stolen.get("/").status_code == 302
