import contextvars
from collections.abc import Iterator
from smtplib import SMTPException
from typing import Any

import pytest
from django.core import mail
from pytest_django.fixtures import Settings

from jobs import context
from jobs.context import Context
from jobs.errors import InvalidRequest
from jobs.tasks import send_email

KEY = "send_email:" + "a" * 24
RUNNING = Context(job_id="a" * 24, attempt=1, claim=1, idempotency_key=KEY)


@pytest.fixture(autouse=True)
def _inside_a_job(settings: Settings) -> Iterator[None]:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.DEFAULT_FROM_EMAIL = "Queue <queue@example.org>"
    with context.use(RUNNING):
        yield


def test_the_mail_goes_to_its_recipient() -> None:
    result = send_email("ada@example.org", "Hello", "The text.")
    (sent,) = mail.outbox
    assert (sent.to, sent.subject, sent.body) == (["ada@example.org"], "Hello", "The text.")
    assert sent.from_email == "Queue <queue@example.org>"
    assert result == {
        "to": "ada@example.org",
        "subject": "Hello",
        "message_id": sent.message()["Message-ID"],
    }


def test_the_body_may_be_left_out() -> None:
    send_email.run(send_email.validate({"to": "ada@example.org", "subject": "Hello"}))
    assert mail.outbox[0].body == ""


def test_every_execution_of_a_job_has_the_same_message_id() -> None:
    first = send_email("ada@example.org", "Hello")["message_id"]
    with context.use(Context(job_id="a" * 24, attempt=2, claim=2, idempotency_key=KEY)):
        assert send_email("ada@example.org", "Hello")["message_id"] == first
    assert first == f"<send_email.{'a' * 24}@example.org>"


def test_another_job_has_another_message_id() -> None:
    first = send_email("ada@example.org", "Hello")["message_id"]
    with context.use(
        Context(job_id="b" * 24, attempt=1, claim=1, idempotency_key="send_email:other")
    ):
        assert send_email("ada@example.org", "Hello")["message_id"] != first


def test_a_plain_call_outside_of_a_job_sends_too() -> None:
    result = contextvars.Context().run(send_email, "ada@example.org", "Hello")
    assert result["message_id"].endswith("@example.org>")


@pytest.mark.parametrize(
    "character", ["\r", "\n", "\r\n", "\x00", "\x0b", "\x1c", "\x7f", "\x85", "\u2028", "\u2029"]
)
def test_a_subject_that_could_start_another_header_is_refused(character: str) -> None:
    with pytest.raises(InvalidRequest, match=r"payload\.subject: .*one line") as refused:
        send_email.validate({"to": "ada@example.org", "subject": f"Hi{character}Bcc: x@y.org"})
    assert [error.field for error in refused.value.errors] == ["payload.subject"]


def test_a_subject_in_any_script_arrives() -> None:
    subject = "Grüße, 你好, 👩‍🚀"
    send_email.run(send_email.validate({"to": "ada@example.org", "subject": subject}))
    assert mail.outbox[0].subject == subject
    assert b"\nSubject: =?utf-8?" in mail.outbox[0].message().as_bytes()


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"to": "nobody"}, "to"),
        ({"to": ""}, "to"),
        ({"to": "ada@example.org\nBcc: x@example.org"}, "to"),
        ({"to": "ada@example.org, bo@example.org"}, "to"),
        ({"to": ["ada@example.org"]}, "to"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 201}, "subject"),
        ({"subject": "\ud800"}, "subject"),
        ({"subject": 5}, "subject"),
        ({"body": None}, "body"),
        ({"cc": "x@example.org"}, "cc"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(fault: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        send_email.validate({"to": "ada@example.org", "subject": "Hello", **fault})
    assert [error.field for error in refused.value.errors] == [f"payload.{field}"]


def test_a_server_that_refuses_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> int:
        raise SMTPException("450 try later")

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    with pytest.raises(SMTPException, match="450"):
        send_email("ada@example.org", "Hello")


def test_the_lane_of_mail_is_high() -> None:
    assert send_email.priority == "high"
