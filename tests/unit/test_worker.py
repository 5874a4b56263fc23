"""How many jobs a worker asks for."""

import time
from typing import Any

import pytest
from bson import ObjectId

from jobs import services
from workers.board import Board
from workers.worker import Place, Worker


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    made = Worker(Place(Board(1, 1, ["default"]), 0, ObjectId(), burst=False))
    made._prefetch.count = 200
    return made


def take(worker: Worker, monkeypatch: pytest.MonkeyPatch, seconds: float) -> int:
    """Have it claim nothing, in so many seconds; return how many jobs it had asked for."""
    asked: list[int] = []

    def claim(*_: Any, count: int, **__: Any) -> list[Any]:
        asked.append(count)
        time.sleep(seconds)
        return []

    monkeypatch.setattr(services, "claim", claim)
    worker.take_batch()
    return asked[0]


def test_where_nothing_was_it_sleeps_for_one_job(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert take(worker, monkeypatch, 0.6) == 200
    assert take(worker, monkeypatch, 0.0) == 1
    assert take(worker, monkeypatch, 0.0) == 200


def test_ids_of_jobs_that_were_cancelled_are_passed_by_in_batches(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [take(worker, monkeypatch, 0.0) for _ in range(3)] == [200] * 3
