from dataclasses import replace
from threading import Thread

import pytest
from structlog.testing import capture_logs

from jobs import context
from jobs.context import Context

FIRST = Context(job_id="a" * 24, attempt=1, claim=1, idempotency_key="a" * 24)
OTHER = Context(job_id="b" * 24, attempt=2, claim=3, idempotency_key="b" * 24)


def test_outside_of_a_job_there_is_no_context() -> None:
    with pytest.raises(LookupError, match="No job runs here"):
        context.current()


def test_a_job_finds_its_own_context() -> None:
    token = context.set(FIRST)
    assert context.current() is FIRST
    context.reset(token)
    with pytest.raises(LookupError):
        context.current()


def test_a_job_run_inside_another_gives_the_outer_one_its_context_back() -> None:
    with context.use(FIRST):
        with context.use(OTHER):
            assert context.current() is OTHER
        assert context.current() is FIRST


def test_a_failing_job_leaves_no_context_behind() -> None:
    with pytest.raises(ZeroDivisionError), context.use(FIRST):
        _ = 1 / 0
    with pytest.raises(LookupError):
        context.current()


def test_another_thread_does_not_see_the_context() -> None:
    seen: list[str] = []

    def look() -> None:
        try:
            seen.append(context.current().job_id)
        except LookupError:
            seen.append("nothing")

    with context.use(FIRST):
        thread = Thread(target=look)
        thread.start()
        thread.join()
    assert seen == ["nothing"]


def test_a_context_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        FIRST.attempt = 2  # type: ignore[misc]


def test_a_job_should_stop_when_its_worker_says_so() -> None:
    asked = [False, True]
    job = replace(FIRST, stop=lambda: asked.pop(0))
    assert (FIRST.should_stop, job.should_stop, job.should_stop) == (False, False, True)
    assert job == FIRST


def test_the_log_of_a_job_says_whose_it_is() -> None:
    with capture_logs() as lines:
        replace(OTHER, type="charge").log.info("charge.sent", order=7)
    (line,) = lines
    said = {"job": "b" * 24, "type": "charge", "attempt": 2, "claim": 3, "order": 7}
    assert line == {"event": "charge.sent", "log_level": "info", **said}
