"""What a job logs is kept with its attempt: bounded, without its secrets."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from jobs import context, registry, secrets
from jobs.claims import End
from jobs.context import never
from tests.claimed import claimed
from workers import capture, execution

log = structlog.get_logger("shop.tasks")
NAME = "chatty"


@pytest.fixture(autouse=True)
def _captured() -> Iterator[None]:
    before = logging.getLogger().handlers[:]
    capture.install()
    yield
    logging.getLogger().handlers[:] = before


@pytest.fixture
def run() -> Iterator[Any]:
    """Execute a function as a job with that payload, and return its end."""

    def execute(function: Any, **payload: Any) -> End:
        registry.job(name=NAME)(function)
        return execution.execute(claimed(NAME, payload), never)

    yield execute
    registry._types.pop(NAME)


def test_lines_of_logging_and_structlog_are_kept_with_time_and_level(run: Any) -> None:
    def job(order: int) -> None:
        logging.getLogger("shop").warning("order %s is late", order)
        log.info("order.charged", order=order, currency="EUR")

    first, second = run(job, order=7).logs
    assert first[12:] == " WARNING shop: order 7 is late"
    assert second[12:] == " INFO shop.tasks: order.charged order=7 currency='EUR'"
    assert first[2] == first[5] == ":"


def test_the_lines_of_a_job_that_fails_are_kept_with_the_exception_it_logged(run: Any) -> None:
    def job() -> None:
        try:
            raise OSError("no route")
        except OSError:
            log.exception("mail.failed")
            logging.getLogger("shop").exception("again")
        raise ValueError("it broke")

    end = run(job)
    assert end.outcome == "failed"
    assert len(end.logs) == 2
    assert all("OSError: no route" in line for line in end.logs)


def test_a_job_that_logs_nothing_keeps_nothing(run: Any) -> None:
    def job() -> None:
        return None

    assert run(job).logs == ()


def test_secrets_of_the_payload_and_values_with_a_secret_name_are_masked(run: Any) -> None:
    def job(password: str) -> None:
        logging.getLogger("shop").warning("x" * 1_990 + f"logs in with {password}")
        log.info("login", api_key="another-secret", user="ada")

    first, second = run(job, password="hunter2-and-more").logs
    assert "hunter2" not in first
    assert len(first) <= capture.LINE_CHARACTERS
    assert f"api_key={secrets.MASK} user='ada'" in second


def test_only_the_last_lines_are_kept_and_no_more_than_fit(run: Any) -> None:
    def many() -> None:
        for n in range(500):
            log.info("step", n=n)

    lines = run(many).logs
    assert len(lines) == capture.LINES
    assert lines[-1].endswith("n=499")
    registry._types.pop(NAME)

    def long() -> None:
        for n in range(50):
            log.info(f"{n} " + "€" * 1_000)

    lines = run(long).logs
    assert sum(len(line.encode()) for line in lines) <= capture.CHARACTERS
    assert " 49 €" in lines[-1]


def test_outside_of_a_job_nothing_is_kept() -> None:
    running = context.Context("7", 1, 1, "key")
    log.info("nobody.runs")
    with context.use(running):
        log.info("somebody.runs")
    assert [line.split(": ", 1)[1] for line in running.lines] == ["somebody.runs"]
