"""Whatever a job's function does in its process, the worker goes on and records how it ended."""

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import pytest
from bson import ObjectId
from django.core.exceptions import ObjectDoesNotExist
from pydantic import AfterValidator

from jobs import context, registry, services
from jobs.claims import End
from tests.claimed import claimed
from workers import coroutines
from workers.board import Board
from workers.execution import execute
from workers.worker import Place, Worker

SECONDS = 20  # after which a process of these tests is killed


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[str]]:
    """Run a function as the first job of a worker's process, and then one that does nothing.

    Returns how they ended, in the order of their names, and how the process did. No store is used.
    """
    said = tmp_path / "said"
    said.touch()

    def note(line: str) -> None:
        with said.open("a") as file:
            file.write(f"{line}\n")

    def record(_: ObjectId, ends: Any, __: Any) -> None:
        for end in ends:
            note(f"{end.job.type} {end.status}")

    monkeypatch.setattr(registry, "_types", {})
    monkeypatch.setattr(services, "register_worker", lambda *_, **__: None)
    monkeypatch.setattr(services, "record", record)
    monkeypatch.setattr(services, "paused_queues", set)
    monkeypatch.setattr(services, "end_worker", lambda *_: note("left"))
    # A loop that another test has begun in this process has no thread in a fork of it.
    monkeypatch.setattr(coroutines, "_loop", cache(coroutines._loop.__wrapped__))

    def run(function: Callable[..., Any], slots: int = 1) -> list[str]:
        registry.job(name="odd")(function)
        registry.job(name="next")(lambda: None)
        worker = Worker(Place(Board(1, slots, ["default"]), 0, ObjectId(), burst=True))
        worker.claimed.extend([claimed("odd", max_attempts=1), claimed("next", max_attempts=1)])
        monkeypatch.setattr(worker, "take_batch", lambda: False)
        pid = os.fork()
        if pid == 0:
            code = 1
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            try:
                worker.run()
                code = 0
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return [*sorted(said.read_text().splitlines()), f"exit {code}"]

    return run


WELL = ["left", "next completed", "odd completed", "exit 0"]


@pytest.mark.parametrize("error", [ValueError("oops"), SystemExit(1)], ids=["error", "exit"])
def test_a_thread_of_a_job_that_fails_does_not_end_the_worker(
    work: Callable[..., list[str]], error: BaseException
) -> None:
    def odd() -> None:
        def fail() -> None:
            raise error

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    assert work(odd) == WELL


def test_a_worker_that_loses_a_thread_of_its_own_ends(
    work: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(services, "record", fail)
    assert work(lambda: None) == ["exit 1"]


ENDINGS: list[tuple[BaseException | None, int]] = [
    (None, 0),
    (SystemExit(), 0),
    (SystemExit(3), 3),
    (SystemExit("no"), 1),
    (ValueError("oops"), 1),
]


def fork(error: BaseException | None) -> int:
    """Fork, as a job does; the child ends so. Returns the child's exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    signal.alarm(SECONDS)
    if error:
        raise error
    return -1


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize(("error", "code"), ENDINGS)
def test_a_process_that_a_job_forks_ends_with_the_call_and_is_no_second_worker(
    work: Callable[..., list[str]], error: BaseException | None, code: int, slots: int
) -> None:
    def odd() -> None:
        assert fork(error) in (code, -1)

    assert work(odd, slots) == WELL


@pytest.mark.parametrize(("error", "code"), ENDINGS)
def test_nor_is_one_that_an_async_job_forks(
    work: Callable[..., list[str]], error: BaseException | None, code: int
) -> None:
    async def odd() -> None:
        assert fork(error) in (code, -1)

    assert work(odd) == WELL


def ended(function: Callable[..., Any], **payload: Any) -> End:
    registry.job(name="odd")(function)
    return execute(claimed("odd", payload, max_attempts=1), context.never)


@pytest.mark.usefixtures("work")
def test_an_error_that_cannot_say_what_it_is_is_recorded_by_its_name_and_traceback() -> None:
    class Speechless(Exception):
        def __str__(self) -> str:
            raise AttributeError("no text")

    def odd() -> None:
        raise Speechless

    end = ended(odd)
    assert (end.status, end.error_type, end.error) == ("dead", "Speechless", "Speechless")
    assert "raise Speechless" in end.traceback


@pytest.mark.usefixtures("work")
def test_what_a_validator_raises_is_the_error_of_the_job() -> None:
    def find(_: str) -> str:
        raise ObjectDoesNotExist("no such customer")

    def odd(customer: Annotated[str, AfterValidator(find)]) -> None: ...

    end = ended(odd, customer="nobody")
    assert (end.status, end.error_type) == ("dead", "ObjectDoesNotExist")
    assert end.error == "no such customer"


@pytest.mark.usefixtures("work")
def test_a_job_has_ended_well_though_its_result_cannot_be_read() -> None:
    class Lazy(dict[str, int]):
        def items(self) -> Any:
            raise ObjectDoesNotExist("it is gone")

    end = ended(lambda: Lazy(a=1))
    assert (end.status, end.result) == ("completed", None)
    assert end.result_error == "The result was not kept: it is gone"


@pytest.mark.parametrize("slots", [1, 2])
def test_a_process_that_a_job_forks_heeds_sigterm(
    work: Callable[..., list[str]], slots: int
) -> None:
    def odd() -> None:
        pid = os.fork()
        if pid == 0:
            signal.alarm(SECONDS)
            while True:
                time.sleep(SECONDS)
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM

    assert work(odd, slots) == WELL
