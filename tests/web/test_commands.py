"""apitoken, enqueue, repair and audit, as an operator meets them."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from bson import ObjectId
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client
from pymongo import MongoClient

from jobs import clients, conservation, lanes, repository, roles, services
from jobs.clients import collection, redis
from jobs.registry import Lane
from tests.web.actors import submitted

pytestmark = pytest.mark.usefixtures("stores")
MAIL = '{"to": "a@example.org", "subject": "Hi"}'


def run(*words: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(*words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def no_mongodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with MongoClient("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=100) as client:
        monkeypatch.setattr(clients, "mongo", lambda: client["away"])
        monkeypatch.setitem(connections["default"].__dict__, "database", client["away"])
        monkeypatch.setattr("jobs.mongodb.mongo", lambda: client["away"])
        yield


def test_apitoken_prints_nothing_but_a_token_that_works() -> None:
    out, err = run("apitoken", "ci", "--role", "operator")
    token = out.removesuffix("\n")
    assert "\n" not in token
    assert token not in err
    answer = Client(headers={"Authorization": f"Token {token}"}).get("/api/v1/jobs/")
    assert answer.status_code == 200
    assert not User.objects.get(username="ci").has_usable_password()


def test_apitoken_raises_the_role_of_a_program_it_knows() -> None:
    run("apitoken", "ci", "--role", "viewer")
    run("apitoken", "ci", "--role", "admin")
    assert roles.roles_of(User.objects.get(username="ci")) == ["admin"]


@pytest.mark.parametrize("words", [("a b", "--role", "viewer"), ("ci",), ("ci", "--role", "god")])
def test_apitoken_refuses_what_it_cannot_do(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run("apitoken", *words)


def test_apitoken_says_that_an_inactive_user_stays_out() -> None:
    User.objects.create_user("gone", is_active=False)
    with pytest.raises(CommandError, match="not active"):
        run("apitoken", "gone", "--role", "viewer")


def test_enqueue_prints_the_id_of_the_job() -> None:
    options = ["--priority", "low", "--queue", "mail", "--tag", "a", "--tag", "b", "--delay", "60"]
    out, _ = run("enqueue", "send_email", "--payload", MAIL, *options, "--max-attempts", "2")
    (job,) = collection("jobs").find()
    assert out == f"{job['_id']}\n"
    assert (job["priority"], job["queue"], job["tags"]) == ("low", "mail", ["a", "b"])
    assert (job["status"], job["max_attempts"]) == ("scheduled", 2)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["nope"], "type:"),
        (["send_email"], "payload.to:"),
        (["send_email", "--payload", "{"], "payload:"),
        (["send_email", "--payload", "[]"], "payload:"),
        (["send_email", "--payload", '{"to": NaN}'], "payload:"),
        (["send_email", "--payload", MAIL, "--run-at", "tomorrow"], "run_at:"),
        (["send_email", "--payload", MAIL, "--run-at", "2026-01-01T00:00:00"], "run_at:"),
        (["send_email", "--payload", MAIL, "--delay", "nan"], "delay:"),
        (["send_email", "--payload", MAIL, "--queue", "a b"], "queue:"),
        (["send_email", "--payload", MAIL, "--tag", "a b"], "tags:"),
    ],
)
def test_enqueue_names_what_is_wrong_and_stores_nothing(words: list[str], named: str) -> None:
    with pytest.raises(CommandError, match=named):
        run("enqueue", *words)
    assert collection("jobs").count_documents({}) == 0


def test_enqueue_with_a_key_prints_the_same_id_again() -> None:
    words = ["enqueue", "send_email", "--payload", MAIL, "--idempotency-key", "k"]
    assert run(*words) == run(*words)
    assert collection("jobs").count_documents({}) == 1
    with pytest.raises(CommandError, match="belongs to another request"):
        run(*words, "--priority", "low")
    with pytest.raises(CommandError, match="Idempotency-Key: Use 1 to 200"):
        run(*words[:-1], "")
    assert collection("jobs").count_documents({}) == 1


def forgotten() -> str:
    """Have a job that Redis does not know."""
    id = submitted()
    collection("jobs").update_one({}, [{"$set": {"enqueued_at": {"$subtract": ["$$NOW", 60000]}}}])
    redis().delete(lanes.key(Lane("default", "high")))
    return id


def test_repair_puts_back_what_is_missing_and_says_how_much() -> None:
    id = forgotten()
    with pytest.raises(CommandError, match="1 pending jobs"):
        run("repair", "--check")
    assert lanes.head(Lane("default", "high"), 9) == []
    out, _ = run("repair")
    assert "1 jobs are back in line" in out
    assert [str(each) for each in lanes.head(Lane("default", "high"), 9)] == [id]
    assert "Nothing is missing" in run("repair", "--check")[0]


def test_repair_says_so_where_redis_takes_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten()
    monkeypatch.setattr(lanes, "push_at_head", lambda hints: not hints)
    for command in (["repair"], ["audit", "--repair"]):
        with pytest.raises(CommandError, match="Redis did not take 1 ids of lane default/high"):
            run(*command)


def test_repair_has_nothing_to_do_where_nothing_was_submitted() -> None:
    assert "No queue is known yet" in run("repair")[0]


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(conservation, "PAUSES", (0.0,))
    settings.WORKER_HEARTBEAT_SECONDS = 0


def rows(out: str) -> list[list[int]]:
    """The numbers of each check of an audit's first table: examined, ok, waiting, wrong."""
    table = out.partition("lanes:")[0].splitlines()[1:]
    return [[int(number) for number in row.split()[-4:]] for row in table]


def test_audit_of_a_healthy_system_finds_nothing(no_pauses: None) -> None:
    submitted()
    out, _ = run("audit")
    assert rows(out)[:2] == [[1, 1, 0, 0]] * 2
    assert out.endswith("Nothing is wrong.\n")
    assert "WRONG" not in out


def test_audit_tells_what_waits_for_repair_and_repairs_it(no_pauses: None) -> None:
    id = forgotten()
    out, _ = run("audit")
    assert rows(out)[1] == [1, 0, 1, 0]
    assert "lanes: 0 jobs in line, 1 waiting for repair, 0 in the wrong lane; 0 ids read" in out
    assert f"waiting, pending: 1. {conservation.REPAIRED}" in out
    out, _ = run("audit", "--repair")
    assert "Repaired: 1 put back, 0 taken back, 0 promoted, 0 counted again. Checked again:" in out
    assert [str(each) for each in lanes.head(Lane("default", "high"), 9)] == [id]
    assert rows(run("audit")[0])[1] == [1, 1, 0, 0]


def test_audit_exits_1_for_what_is_wrong_and_repair_mends_it(no_pauses: None) -> None:
    id = submitted()
    repository.claim([ObjectId(id)], ObjectId())  # by a worker that nobody knows
    out = io.StringIO()
    with pytest.raises(CommandError, match="Wrong: 1") as raised:
        call_command("audit", stdout=out)
    assert raised.value.returncode == 1
    assert rows(out.getvalue())[2] == [1, 0, 0, 1]
    assert f"WRONG, running: 1. {conservation.STUCK}\n  for example: {id}" in out.getvalue()
    assert "1 taken back" in run("audit", "--repair")[0]
    assert "Nothing is wrong" in run("audit")[0]


def test_audit_exits_by_what_is_left_after_the_repair(no_pauses: None) -> None:
    submitted()
    collection("jobs").update_one({}, {"$set": {"attempt": 9}})
    with pytest.raises(CommandError, match="Wrong: 1"):
        run("audit", "--repair")


def test_a_command_says_what_an_outage_of_mongodb_means(no_mongodb: None) -> None:
    services._know_queue.cache_clear()
    for words in (
        ["apitoken", "ci", "--role", "viewer"],
        ["enqueue", "send_email", "--payload", MAIL],
        ["repair"],
        ["audit"],
    ):
        with pytest.raises(CommandError, match=r"(?s)MongoDB did not answer.*MONGODB_URI"):
            run(*words)


@pytest.mark.parametrize("command", ["repair", "audit"])
def test_a_command_says_what_an_outage_of_redis_means(settings: Any, command: str) -> None:
    submitted()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(CommandError, match=r"(?s)Redis did not answer.*safe in MongoDB"):
        run(command)
