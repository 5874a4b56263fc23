"""Secrets in the form of a new job: all that was typed but these is shown again."""

import json
from typing import Any, Literal

import pytest
from django.test import Client
from pydantic import BaseModel, Secret, SecretStr

from jobs import registry
from jobs.forms import RETYPE
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


FAULTY = {
    "type": NAME,
    "payload.n": "x",
    "payload.password": "hunter2",
    "payload.conf": '{"api_key": "hunter2"}',
    "payload.login": '{"user": "ann", "pin": "hunter2"}',
    "payload.note": "a token",
}


def test_a_secret_that_comes_back_empty_is_asked_for_again(operator: Client) -> None:
    answer = operator.post("/jobs/new/", FAULTY)
    assert answer.status_code == 400
    assert "hunter2" not in answer.content.decode()
    errors = answer.context["form"].errors
    lost = {"payload.password", "payload.conf", "payload.login"}
    assert set(errors) == {"payload.n", *lost}
    assert all(errors[name] == [RETYPE] for name in lost)
    assert answer.content.decode().count(RETYPE) == 3


def test_what_has_no_secret_in_it_comes_back_as_it_was(operator: Client) -> None:
    kept = {
        "payload.password": "",
        "payload.conf": '{"note": "a token", "url": "http://x"}',
        "payload.login": '{"user": "ann", "pin": ""}',
    }
    answer = operator.post("/jobs/new/", {**FAULTY, **kept})
    assert set(answer.context["form"].errors) == {"payload.n"}
    page = answer.content.decode()
    for shown in ("a token&quot;, &quot;url", "&quot;ann&quot;, &quot;pin&quot;: &quot;&quot;"):
        assert shown in page


@pytest.mark.parametrize(
    "text",
    [
        '{"api_key": "hunter2"',
        "{'password': 'hunter2'}",
        '{"to": "ann, "password": "hunter2"}',
        '{"a": 1,\n token: "hunter2"}',
        '{"my password" : "hunter2",}',
    ],
)
def test_what_is_no_json_comes_back_empty_if_a_name_in_it_is_secret(
    operator: Client, text: str
) -> None:
    fields = {**FAULTY, "payload.n": "7", "payload.conf": text}
    raw = {"type": "send_email", "raw": "1", "payload": text}
    for sent, name in ((fields, "payload.conf"), (raw, "payload")):
        answer = operator.post("/jobs/new/", sent)
        assert "hunter2" not in answer.content.decode()
        fault, said = answer.context["form"].errors[name]
        assert fault.startswith("This is not JSON")
        assert said == RETYPE


def test_a_slip_in_json_loses_nothing_that_is_no_secret(operator: Client) -> None:
    text = '{"to": "ann@example.org", "subject": "Your token: here", "body": "the password"'
    answer = operator.post("/jobs/new/", {"type": "send_email", "raw": "1", "payload": text})
    assert "Your token: here" in answer.content.decode()
    (said,) = answer.context["form"].errors["payload"]
    assert said.startswith("This is not JSON")


def test_json_of_a_type_with_secrets_comes_back_only_without_them(operator: Client) -> None:
    for text, is_lost in (
        ('{"n": "x", "login": {"user": "ann", "pin": "hunter2"}}', True),
        ('{"n": 7, "login": {"user": "ann", "pin": "hunter2"}', True),
        ('{"n": "x", "password": null, "note": "a token"}', False),
    ):
        answer = operator.post("/jobs/new/", {"type": NAME, "raw": "1", "payload": text})
        assert answer.status_code == 400
        assert "hunter2" not in answer.content.decode()
        assert (RETYPE in answer.context["form"].errors["payload"]) == is_lost
        assert bool(answer.context["form"]["payload"].value()) is True
        assert ("n&quot;:" in answer.content.decode()) != is_lost


def test_a_list_with_a_secret_name_comes_back_empty(operator: Client) -> None:
    @registry.job(name="many_tokens")
    def run(n: int, tokens: list[str]) -> None: ...

    filled = {"payload.n": "x", "payload.tokens": '["hunter2"]'}
    answer = operator.post("/jobs/new/", {"type": "many_tokens", **filled})
    assert set(answer.context["form"].errors) == set(filled)
    assert "hunter2" not in answer.content.decode()


def test_beside_code_the_form_says_what_it_has_lost(operator: Client) -> None:
    sent = {**FAULTY, "payload.n": "7"}
    answer = operator.post("/jobs/new/?show=code", sent)
    assert answer.status_code == 200
    assert RETYPE in answer.content.decode()
    part = operator.post("/jobs/new/?show=code", sent, **FRAGMENT).content.decode()
    assert RETYPE not in part  # the form in the browser still has it
    assert "cannot be submitted" not in part


@pytest.mark.parametrize("name", ["pin", "phrase", "colour", "access_token"])
def test_a_secret_that_is_a_number_or_a_choice_comes_back_empty_too(
    operator: Client, name: str
) -> None:
    @registry.job(name="scalars")
    def run(
        n: int,
        pin: Secret[int],
        phrase: Secret[str],
        colour: Secret[Literal["red", "green"]],
        access_token: int,
    ) -> None: ...

    typed = {"pin": "123456", "phrase": "tops-ecret", "colour": "green", "access_token": "777777"}
    sent = {"type": "scalars", **{f"payload.{each}": text for each, text in typed.items()}}
    answer = operator.post("/jobs/new/", {**sent, "payload.n": "x"})
    assert f'value="{typed[name]}"' not in answer.content.decode()
    assert RETYPE in answer.context["form"].errors[f"payload.{name}"]
    operator.post("/jobs/new/", {**sent, "payload.n": "1"})
    stored = {"n": 1, "pin": 123456, "phrase": "tops-ecret", "colour": "green"}
    assert Job.objects.get().payload == {**stored, "access_token": 777777}


@pytest.mark.parametrize(("named", "shown"), [("api_key", False), ("colour", True)])
def test_of_what_is_too_large_the_names_tell(
    operator: Client, settings: Any, named: str, shown: bool
) -> None:
    settings.JOB_PAYLOAD_MAX_BYTES = 100
    conf = json.dumps({named: "x" * 100})
    answer = operator.post("/jobs/new/", {"type": NAME, "payload.n": "1", "payload.conf": conf})
    assert (RETYPE in answer.context["form"].errors.get("payload.conf", [])) is not shown
    assert ("x" * 100 in answer.content.decode()) is shown
