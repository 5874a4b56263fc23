"""Secrets in the form of a new job: all that was typed but these is shown again."""

import json
from typing import Any

import pytest
from django.test import Client
from pydantic import BaseModel, SecretStr

from jobs import registry
from jobs.models import Job
from jobs.secrets import MASK
from tests.web.conftest import FRAGMENT

NAME = "typed_secrets"


class Login(BaseModel):
    user: str
    pin: SecretStr


@pytest.fixture(autouse=True)
def _job_types(stores: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_types", dict(registry._types))

    @registry.job(name=NAME)
    def run(
        n: int,
        password: SecretStr | None = None,
        conf: dict[str, Any] = {},  # noqa: B006 - a signature, not state
        login: Login | None = None,
        note: str = "",
    ) -> None:
        raise AssertionError("a page must not run a job")


def box(answer: Any) -> Any:
    """Return what is in the box of JSON that a page shows."""
    return json.loads(answer.context["form"]["payload"].value())


MAIL = {"type": "send_email", "payload.subject": "Hello", "payload.body": "A token of thanks"}


def test_what_is_not_valid_yet_is_carried_over_to_json_and_back(operator: Client) -> None:
    answer = operator.post("/jobs/new/?show=json", {**MAIL, "payload.to": ""})
    assert MASK not in answer.content.decode()
    typed = {"to": "", "subject": "Hello", "body": "A token of thanks"}
    assert box(answer).items() >= typed.items()
    sent = {"type": "send_email", "raw": "1", "payload": json.dumps({**typed, "new": "field"})}
    page = operator.post("/jobs/new/?show=fields", sent).content.decode()
    assert 'value="Hello"' in page
    assert MASK not in page


def test_code_shows_what_is_valid_but_is_written_otherwise(operator: Client) -> None:
    sent = {**MAIL, "payload.to": "ann@Example.org"}
    answer = operator.post("/jobs/new/?show=code", sent, **FRAGMENT)
    for snippet in answer.context["code"]:
        assert "ann@example.org" in snippet.text
        assert MASK not in snippet.text


@pytest.mark.parametrize("n", ["7", "x"], ids=["valid", "invalid"])
def test_secrets_are_not_carried_over(operator: Client, n: str) -> None:
    sent = {
        "type": NAME,
        "payload.n": n,
        "payload.password": "hunter2",
        "payload.conf": '{"api_key": "hunter2", "url": "http://Example.org"}',
        "payload.login": '{"user": "ann", "pin": "hunter2"}',
    }
    answer = operator.post("/jobs/new/?show=json", sent)
    assert "hunter2" not in answer.content.decode()
    assert box(answer) == {
        "n": 7 if n == "7" else "x",
        "password": MASK,
        "conf": {"api_key": MASK, "url": "http://Example.org"},
        "login": {"user": "ann", "pin": MASK},
    }
    code = operator.post("/jobs/new/?show=code", sent, **FRAGMENT).content.decode()
    assert "hunter2" not in code
    assert Job.objects.count() == 0


@pytest.mark.parametrize("show", ["", "json", "fields", "code"])
@pytest.mark.parametrize("levels", [40, 300, 480, 900])
def test_what_is_nested_too_deep_is_a_fault_of_its_field(
    operator: Client, show: str, levels: int
) -> None:
    deep = "[" * levels + "]" * levels
    fields = {"type": NAME, "payload.n": "7", "payload.conf": f'{{"a": {deep}}}'}
    raw = {"type": NAME, "raw": "1", "payload": f'{{"n": 7, "new": {deep}}}'}
    for sent, name in ((fields, "payload.conf"), (raw, "payload")):
        answer = operator.post(f"/jobs/new/?show={show}", sent)
        assert answer.status_code == 400
        assert list(answer.context["form"].errors) == [name]
    assert Job.objects.count() == 0
