"""What an async job may do, and that the one loop of its worker outlives all of it."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from jobs import Context, context, job, registry
from jobs.claims import End
from jobs.states import State
from tests.claimed import claimed
from workers import coroutines
from workers.execution import execute

SIDE_BY_SIDE = 50


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_types", {})


@pytest.fixture(autouse=True)
def _loop_lives() -> Iterator[None]:
    """After each test, the loop that ran its jobs still runs one, and is still the only one."""
    before = coroutines.wait(loop_of(), 5)
    yield
    assert coroutines.wait(loop_of(), 5) is before
    assert [thread.name for thread in threading.enumerate()].count("loop") == 1


async def loop_of() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def run(type: str, payload: dict[str, Any] | None = None, attempt: int = 1) -> End:
    """Execute a job of this type as a worker's slot does."""
    return execute(claimed(type, payload, attempt=attempt), context.never)


def test_what_a_coroutine_returns_is_the_result() -> None:
    @job
    async def add(a: int, b: int = 1) -> int:
        await asyncio.sleep(0)
        return a + b

    end = run("add", {"a": 2})
    assert (end.status, end.outcome, end.result) == (State.COMPLETED, "completed", 3)


def test_a_coroutine_that_never_awaits_ends_like_any_other() -> None:
    @job
    async def at_once() -> str:
        return "done"

    assert run("at_once").result == "done"


def test_a_coroutine_that_a_plain_wrapper_returns_is_run_too() -> None:
    async def inner() -> str:
        return "ran"

    @job
    def outer() -> Any:
        return inner()

    assert run("outer").result == "ran"


@pytest.mark.parametrize(
    "error", [ValueError("odd"), asyncio.CancelledError(), SystemExit(3), KeyboardInterrupt()]
)
def test_whatever_a_coroutine_raises_is_a_failed_attempt(error: BaseException) -> None:
    @job
    async def broken() -> None:
        await asyncio.sleep(0)
        raise error

    end = run("broken")
    assert (end.status, end.outcome) == (State.RETRYING, "failed")
    assert end.error_type == type(error).__name__
    assert "in broken" in end.traceback


def test_each_of_many_at_once_has_its_own_context() -> None:
    @job
    async def who(ctx: Context) -> bool:
        for _ in range(5):
            await asyncio.sleep(0.001)
            if context.current() is not ctx:
                return False
        in_thread = await asyncio.to_thread(context.current)
        in_task = await asyncio.create_task(current())
        return in_thread is in_task is ctx

    async def current() -> Context:
        return context.current()

    with ThreadPoolExecutor(SIDE_BY_SIDE) as slots:
        ends = list(slots.map(run, ["who"] * 4 * SIDE_BY_SIDE))
    assert {end.result for end in ends} == {True}
    with pytest.raises(LookupError):
        context.current()


def test_all_run_on_one_loop_and_wait_side_by_side() -> None:
    @job
    async def meet() -> int:
        await barrier.wait()
        return id(asyncio.get_running_loop())

    async def new_barrier() -> asyncio.Barrier:
        return asyncio.Barrier(SIDE_BY_SIDE)

    barrier = coroutines.wait(new_barrier(), 5)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as slots:
        ends = list(slots.map(run, ["meet"] * SIDE_BY_SIDE))
    assert len({end.result for end in ends}) == 1


# --- timeouts ---------------------------------------------------------------------------------


def test_one_that_runs_past_its_timeout_is_cancelled_and_the_attempt_is_used_up() -> None:
    cleaned_up = []

    @job(timeout=0.05, backoff=7)
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned_up.append(True)

    end = run("slow")
    assert (end.status, end.outcome, end.consumed) == (State.RETRYING, "timed_out", 1)
    assert (end.error_type, cleaned_up) == ("TimeoutError", [True])
    assert end.error == "It ran past its timeout of 0.05 s and was cancelled."
    assert "await asyncio.sleep(60)" in end.traceback
    assert end.delay_seconds == pytest.approx(7, rel=0.11)
    assert run("slow", attempt=4).status is State.DEAD


def test_one_that_fails_while_it_is_cancelled_has_timed_out_all_the_same() -> None:
    @job(timeout=0.05)
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionError("half sent") from None

    end = run("slow")
    assert end.outcome == "timed_out"
    assert "half sent" in end.traceback


def test_one_that_ends_well_in_spite_of_its_cancellation_has_ended_well() -> None:
    @job(timeout=0.05)
    async def saved() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
        return "saved what there was"

    end = run("saved")
    assert (end.outcome, end.result) == ("completed", "saved what there was")


def test_a_timeout_of_its_own_is_an_ordinary_failure() -> None:
    @job(timeout=5)
    async def asks() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(1)

    end = run("asks")
    assert (end.outcome, end.error_type) == ("failed", "TimeoutError")


def test_while_one_blocks_the_loop_the_others_are_cancelled_late_but_are() -> None:
    @job
    async def block() -> None:
        time.sleep(0.3)

    @job(timeout=0.05)
    async def slow() -> None:
        await asyncio.sleep(60)

    with ThreadPoolExecutor(2) as slots:
        ends = list(slots.map(run, ["block", "slow"]))
    assert [end.outcome for end in ends] == ["completed", "timed_out"]


# --- what it leaves behind --------------------------------------------------------------------


def test_a_task_that_a_job_leaves_running_goes_on() -> None:
    went_on = threading.Event()
    kept = []

    @job
    async def leaves() -> None:
        kept.append(asyncio.create_task(later()))

    async def later() -> None:
        await asyncio.sleep(0.05)
        went_on.set()

    assert run("leaves").outcome == "completed"
    assert not went_on.is_set()
    assert went_on.wait(5)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ValueError("odd")])
def test_what_such_a_task_raises_hurts_no_other_job(error: BaseException) -> None:
    @job
    async def leaves() -> None:
        asyncio.get_running_loop().create_task(later())

    async def later() -> None:
        raised.set()
        raise error

    @job
    async def beside() -> str:
        await asyncio.sleep(0.2)
        return "unhurt"

    raised = threading.Event()
    with ThreadPoolExecutor(2) as slots:
        other = slots.submit(run, "beside")
        assert run("leaves").outcome == "completed"
        assert other.result().result == "unhurt"
    assert raised.is_set()


def test_a_job_that_stops_the_loop_stops_nobody() -> None:
    @job
    async def stop() -> str:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        return "went on"

    assert run("stop").result == "went on"


def test_a_job_that_cancels_all_tasks_makes_them_fail_and_nothing_worse() -> None:
    @job
    async def waits() -> None:
        started.set()
        await asyncio.sleep(60)

    @job
    async def cancel_all() -> None:
        for task in asyncio.all_tasks():
            task.cancel()
        await asyncio.sleep(0)

    started = threading.Event()
    with ThreadPoolExecutor(2) as slots:
        other = slots.submit(run, "waits")
        assert started.wait(5)
        ends = [run("cancel_all"), other.result()]
    assert [(end.outcome, end.error_type) for end in ends] == [("failed", "CancelledError")] * 2
