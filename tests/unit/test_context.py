from threading import Thread

import pytest

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
