import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from jobs import context, registry
from jobs.context import Context
from jobs.errors import InvalidRequest
from jobs.management.commands.demo import Figures, measure, mix

BORN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def demo() -> Iterator[ModuleType]:
    """The demo types, without leaving them registered for other tests."""
    known = dict(registry._types)
    from jobs import demo

    yield demo
    registry._types.clear()
    registry._types.update(known)


@pytest.fixture(autouse=True)
def _storage(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@contextmanager
def execution(number: int) -> Iterator[None]:
    """Run the block as the n-th execution of a job."""
    key = "a" * 24
    job = Context(job_id=key, attempt=1, claim=number, idempotency_key=key)
    with context.use(job), patch("jobs.demo._ended_executions", return_value=number - 1):
        yield


# --- the types --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expected"), [("0", []), ("1", ["crash", "flaky", "noop", "wait"])]
)
def test_the_demo_types_exist_only_where_they_are_wanted(
    wanted: str, expected: list[str], tmp_path: Path
) -> None:
    names = ("crash", "flaky", "noop", "wait")
    script = (
        "import django; django.setup()\n"
        "from jobs import registry\n"
        f"print(*(t.name for t in registry.all_types() if t.name in {names}))"
    )
    settings = {"DJANGO_SETTINGS_MODULE": "taskqueue.settings", "DATA_DIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **settings, "DEMO_JOBS": wanted},
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.split() == expected


def test_a_noop_does_nothing(demo: ModuleType) -> None:
    assert demo.noop() is None


def test_a_sleep_lasts_as_long_as_asked(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("jobs.demo.time.sleep", slept.append)
    demo.sleep(2.5)
    assert slept == [2.5]


def test_a_wait_lasts_as_long_as_asked_unless_it_is_asked_to_stop(demo: ModuleType) -> None:
    facts = {"job_id": "a" * 24, "attempt": 1, "claim": 1, "idempotency_key": "a"}
    assert demo.wait(Context(**facts), 0.01) == {"stopped_early": False}
    assert demo.wait(Context(**facts, stop=lambda: True), 60) == {"stopped_early": True}


def test_a_flaky_job_fails_its_first_executions_and_then_succeeds(demo: ModuleType) -> None:
    for number in (1, 2):
        with execution(number), pytest.raises(demo.StillBroken, match=f"Execution {number}"):
            demo.flaky(2)
    with execution(3):
        assert demo.flaky(2) == {"execution": 3}


def test_a_flaky_job_that_never_fails_succeeds_at_once(demo: ModuleType) -> None:
    with execution(1):
        assert demo.flaky(0) == {"execution": 1}


def test_a_flaky_job_succeeds_once_its_cause_is_removed(demo: ModuleType) -> None:
    name = default_storage.save("causes/broken-disk", ContentFile(b""))
    with execution(1), pytest.raises(demo.StillBroken):
        demo.flaky(9, "broken-disk")
    default_storage.delete(name)
    with execution(1):
        assert demo.flaky(9, "broken-disk") == {"execution": 1}


def test_a_flaky_job_outlives_its_cause_when_its_failures_are_used_up(demo: ModuleType) -> None:
    default_storage.save("causes/broken-disk", ContentFile(b""))
    with execution(2):
        assert demo.flaky(1, "broken-disk") == {"execution": 2}


def test_a_flaky_job_needs_to_be_a_job(demo: ModuleType) -> None:
    with pytest.raises(LookupError, match="No job runs here"):
        demo.flaky(1)


def test_a_crash_kills_its_own_process_and_no_other(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[Any] = []
    monkeypatch.setattr("jobs.demo.os.kill", lambda *args: killed.append(args))
    demo.crash()
    assert killed == [(os.getpid(), signal.SIGKILL)]


@pytest.mark.parametrize(
    ("name", "payload", "field"),
    [
        ("noop", {"x": 1}, "x"),
        ("sleep", {}, "seconds"),
        ("sleep", {"seconds": -1}, "seconds"),
        ("sleep", {"seconds": 3601}, "seconds"),
        ("sleep", {"seconds": float("inf")}, "seconds"),
        ("wait", {"seconds": 3601}, "seconds"),
        ("wait", {"seconds": 1, "ctx": {}}, "ctx"),
        ("flaky", {"fail_times": -1}, "fail_times"),
        ("flaky", {"fail_times": 1, "cause": "../secret"}, "cause"),
        ("flaky", {"fail_times": 1, "cause": "a\n"}, "cause"),
        ("flaky", {"fail_times": 1, "cause": "x" * 65}, "cause"),
        ("crash", {"now": True}, "now"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(
    demo: ModuleType, name: str, payload: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        getattr(demo, name).validate(payload)
    assert [error.field for error in refused.value.errors] == [f"payload.{field}"]


# --- the command ------------------------------------------------------------------------------


def test_without_the_demo_types_the_command_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_types", {})
    with pytest.raises(CommandError, match="DEMO_JOBS=1"):
        call_command("demo")


@pytest.mark.usefixtures("demo")
def test_the_mix_is_made_of_payloads_that_fit() -> None:
    for request in mix(100, "demo-1"):
        job_type = registry.get(request.type)
        assert job_type is not None
        job_type.validate(request.payload)


def test_the_mix_has_every_kind_at_every_priority() -> None:
    requests = mix(300, "demo-1")
    types = Counter(request.type for request in requests)
    real = ("send_email", "resize_image", "generate_report", "process_data")
    assert [types[name] for name in real] == [60, 60, 60, 60]
    assert types["flaky"] == 60
    assert Counter(request.priority for request in requests) == {
        "high": 100,
        "medium": 100,
        "low": 100,
    }
    assert {tuple(request.tags) for request in requests} == {("demo-1",)}


def job(status: str, *outcomes: str, ends_after: float | None = None) -> Any:
    finished_at = None if ends_after is None else BORN + timedelta(seconds=ends_after)
    attempts = [SimpleNamespace(outcome=outcome) for outcome in outcomes]
    return SimpleNamespace(
        status=status, attempts=attempts, created_at=BORN, finished_at=finished_at
    )


def test_the_figures_come_from_what_is_recorded() -> None:
    found = measure(
        [
            job("completed", "completed", ends_after=1),
            job("completed", "failed", "completed", ends_after=3),
            job("completed", "crashed", "timed_out", "completed", ends_after=4),
            job("completed", "failed", "failed", "completed", ends_after=8),
            job("dead", "failed", "failed", "failed", "failed", ends_after=30),
            job("running"),
        ]
    )
    assert found == Figures(jobs=6, completed=4, dead=1, failed=4, first_retry=2, seconds=30.0)
    assert [value for _, value in found.lines()] == [
        "6",
        "4",
        "10",
        "2 of 4, 50.0 %",
        "1 of 6, 16.7 %",
    ]


def test_the_figures_of_nothing_are_no_numbers() -> None:
    found = measure([job("pending")])
    assert found.seconds is None
    assert [value for _, value in found.lines()] == [
        "1",
        "0",
        "none ended",
        "none",
        "0 of 1, 0.0 %",
    ]
