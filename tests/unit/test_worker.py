"""How a worker asks for jobs, and when their ends are written."""

import time
from typing import Any

import pytest
from bson import ObjectId

from jobs import services
from jobs.errors import StoreDown
from workers.board import Board
from workers.worker import Place, Worker


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    made = Worker(Place(Board(1, 1, ["default"]), 0, ObjectId(), burst=False))
    made._prefetch.count = 200
    return made


def take(worker: Worker, monkeypatch: pytest.MonkeyPatch, seconds: float) -> tuple[int, bool]:
    """Have it claim nothing, in so many seconds; return for how many it asked, and if unlooked."""
    asked: list[tuple[int, bool]] = []

    def claim(*_: Any, count: int, empty: bool, **__: Any) -> list[Any]:
        asked.append((count, empty))
        time.sleep(seconds)
        return []

    monkeypatch.setattr(services, "claim", claim)
    worker.take_batch()
    return asked[0]


def test_where_nothing_was_it_sleeps_without_a_look(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert take(worker, monkeypatch, 0.6) == (200, False)
    assert take(worker, monkeypatch, 0.0) == (200, True)
    assert take(worker, monkeypatch, 0.0) == (200, False)


def test_ids_of_jobs_that_were_cancelled_are_passed_by_in_batches(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [take(worker, monkeypatch, 0.0) for _ in range(3)] == [(200, False)] * 3


def test_after_a_claim_that_mongodb_was_too_slow_for_it_asks_for_fewer(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_slow(*_: Any, **__: Any) -> Any:
        raise StoreDown("too slow")

    monkeypatch.setattr("workers.worker.RETRY_SECONDS", 0.0)
    monkeypatch.setattr(services, "claim", too_slow)
    worker.take_batch()
    assert take(worker, monkeypatch, 0.0) == (1, False)


def test_an_end_is_written_at_once_if_no_other_may_follow() -> None:
    worker = Worker(Place(Board(1, 3, ["default"]), 0, ObjectId(), burst=False))
    assert not worker._runs_nothing_else()  # two more slots are at work
    worker._idle |= {1, 2}
    assert worker._runs_nothing_else()
    worker.claimed.append(object())  # type: ignore[arg-type]
    assert not worker._runs_nothing_else()
