from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from redis import Redis

from jobs import job, mongodb, registry, repository, selectors, services
from jobs.claims import ClaimedJob
from jobs.clients import Document, blocking_redis, collection
from jobs.selectors import JobFilter
from jobs.states import State

WORKER = ObjectId()


@pytest.fixture(autouse=True)
def _stores(stores: str) -> None:
    """Every test here is on the real stores."""


@pytest.fixture(autouse=True)
def _counted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "NEW_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def _job_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_types", dict(registry._types))

    @job(name="echo", priority="medium")
    def echo(value: Any = None) -> Any:
        """Return what it is given."""
        return value

    @job(name="urgent", priority="high", queue="mail", max_attempts=2, timeout=5, backoff=1)
    def urgent(to: str) -> None: ...


@pytest.fixture
def redis_client() -> Iterator[Redis]:
    client = blocking_redis()
    yield client
    client.close()


@pytest.fixture
def claim(redis_client: Redis) -> Callable[..., list[ClaimedJob]]:
    def take(count: int = 10, worker: ObjectId = WORKER, queues: Any = ("default",)) -> Any:
        return services.claim(redis_client, queues, worker=worker, count=count)

    return take


def stored(id: str | ObjectId) -> Document:
    """Read a job as it is stored."""
    document = collection("jobs").find_one({"_id": ObjectId(id)})
    assert document is not None
    return document


def in_state(state: State, *, worker: ObjectId = WORKER) -> ClaimedJob:
    """Make a job that is in `state`, as if it had come there by itself, and return its claim."""
    id = ObjectId(services.enqueue("echo", {}))
    waits = state in (State.SCHEDULED, State.RETRYING)
    changes = {
        "status": state.value,
        "claim": 3,
        "worker": worker,
        "run_at": mongodb.now() - timedelta(seconds=1) if waits else None,
    }
    collection("jobs").update_one({"_id": id}, {"$set": changes})
    document = repository._numbered().find_one({"_id": id})
    assert document is not None
    return repository._claimed(document)


def requeue_dead() -> int:
    """Requeue all dead letters as an operation, and return how many that were."""
    frozen = services.preview("requeue", JobFilter(status="dead"), actor="ada")
    token = services.read_token(frozen.token, actor="ada")
    started = services.start_operation(token, actor="ada")
    while services.operate():
        pass
    return selectors.operation(started.id).done
