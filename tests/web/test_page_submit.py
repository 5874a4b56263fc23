"""The form made of a job type's signature: what is typed is what the worker gets."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from django.test import Client
from pydantic import Field

from jobs import counts, registry
from jobs.forms import JobForm
from jobs.models import Job
from tests.web.conftest import FRAGMENT, HOSTILE

NAME = "form_probe"


@pytest.fixture(autouse=True)
def _wide(stores: str) -> Iterator[None]:
    @registry.job(name=NAME, priority="low", queue="forms")
    def run(
        text: Annotated[str, Field(min_length=1, max_length=50, description="Say it.")],
        count: Annotated[int, Field(ge=1, le=9)],
        share: float = 0.5,
        flag: bool = True,
        kind: Literal["a", "b"] = "a",
        level: Literal[1, 2] = 1,
        maybe: int | None = None,
        records: list[dict[str, int]] = [],  # noqa: B006
        any_of: str | int | None = None,
    ) -> None:
        raise AssertionError("a page must not run a job")

    yield
    registry._types.pop(NAME)


FILLED = {
    "type": NAME,
    "payload.text": "hi",
    "payload.count": "3",
    "payload.share": "0.25",
    "payload.kind": "b",
    "payload.level": "2",
    "payload.maybe": "",
    "payload.records": '[{"a": 1}]',
    "payload.any_of": "words",
}


def _submit(client: Client, **changes: str) -> Any:
    return client.post("/jobs/new/", {**FILLED, **changes})


def test_the_fields_are_those_of_the_signature(operator: Client) -> None:
    page = operator.get(f"/jobs/new/?type={NAME}").content.decode()
    assert 'min="1" max="9"' in page
    assert 'maxlength="50"' in page
    assert "Say it." in page
    assert '<option value="b">b</option>' in page
    assert "checked" in page
    assert 'value="0.5"' in page


def test_numbers_are_numbers(operator: Client) -> None:
    answer = _submit(operator)
    (job,) = Job.objects.all()
    assert answer["Location"] == f"/jobs/{job.id}/"
    assert job.payload == {
        "text": "hi",
        "count": 3,
        "share": 0.25,
        "flag": False,
        "kind": "b",
        "level": 2,
        "maybe": None,
        "records": [{"a": 1}],
        "any_of": "words",
    }
    assert (job.priority, job.queue, job.max_attempts) == ("low", "forms", 4)


def test_what_is_left_out_is_as_the_signature_says(operator: Client) -> None:
    _submit(operator, **{"payload.share": "", "payload.records": "", "payload.any_of": "7"})
    (job,) = Job.objects.all()
    assert (job.payload["share"], job.payload["records"]) == (0.5, [])
    assert job.payload["any_of"] == 7


def test_how_it_runs(operator: Client) -> None:
    chosen = {"priority": "high", "queue": "mail", "delay": "60", "max_attempts": "2"}
    _submit(operator, **chosen, tags="a, b,")
    (job,) = Job.objects.all()
    assert (job.priority, job.queue, job.status) == ("high", "mail", "scheduled")
    assert (job.max_attempts, job.tags) == (2, ["a", "b"])


def test_each_fault_is_at_its_field_and_what_was_typed_stays(operator: Client) -> None:
    changes = {"payload.count": "99", "payload.records": "[1", "payload.text": HOSTILE[:40]}
    answer = _submit(operator, **changes)
    page = answer.content.decode()
    assert answer.status_code == 400
    assert 'value="99"' in page
    assert "This is not JSON" in page
    assert "<svg onload" not in page
    assert Job.objects.count() == 0
    form: JobForm = answer.context["form"]
    assert "payload.records" in form.errors
    answer = _submit(operator, **{"payload.count": "99", "payload.records": '[{"a": "x"}]'})
    assert set(answer.context["form"].errors) == {"payload.count", "payload.records"}
    assert "0.a" in answer.content.decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"payload.count": "1e400"},
        {"payload.count": "nan"},
        {"payload.count": "9" * 5000},
        {"payload.share": "inf"},
        {"payload.records": "[" * 100_000},
        {"payload.records": "NaN"},
        {"payload.records": '[{"a": ' + "9" * 40 + "}]"},
        {"payload.kind": "c"},
        {"payload.text": "x" * 51},
        {"priority": "urgent"},
        {"queue": HOSTILE},
        {"queue": "\x00"},
        {"delay": "-1"},
        {"delay": "nan"},
        {"delay": "1e300"},
        {"max_attempts": "0"},
        {"max_attempts": "9" * 30},
        {"tags": ",".join("abcdefghijkl")},
        {"tags": "a b"},
        {"type": "unknown"},
        {"type": "\x00"},
    ],
)
def test_bad_input_is_an_error_and_stores_nothing(
    operator: Client, changes: dict[str, str]
) -> None:
    assert _submit(operator, **changes).status_code == 400
    assert Job.objects.count() == 0


def test_too_large_a_payload_is_refused(operator: Client, settings: Any) -> None:
    settings.JOB_PAYLOAD_MAX_BYTES = 300
    records = json.dumps([{"a": n} for n in range(100)])
    answer = _submit(operator, **{"payload.records": records})
    assert answer.status_code == 400
    assert "the limit is 300" in answer.content.decode()


def test_another_type_brings_its_fields(operator: Client) -> None:
    part = operator.get("/jobs/new/?type=send_email", **FRAGMENT).content.decode()
    assert 'type="email"' in part
    assert "<html" not in part
    assert "csrf" not in part


def test_no_job_runs_while_its_form_is_shown(operator: Client, probe: str) -> None:
    # A template calls what can be called, and a job type can: both probes would raise.
    page = operator.get("/jobs/new/").content.decode()
    assert probe in page
    assert counts.stats().total == 0
