"""Who works: hosts with their live workers and slots, and the queues that they serve."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from bson import ObjectId
from django.conf import settings

from jobs import mongodb, repository


@dataclass(frozen=True)
class Host:
    """The workers of one machine. `held`: jobs they hold, with prefetch more than execute."""

    name: str
    live: int
    lost: int
    slots: int  # of the live ones
    held: int
    queues: frozenset[str]

    @property
    def busy(self) -> int:
        """Slots that execute something."""
        return min(self.held, self.slots)


@dataclass(frozen=True)
class _Open:
    id: ObjectId
    host: str
    slots: int
    queues: frozenset[str]
    live: bool


def hosts() -> list[Host]:
    """Return each host with a worker that has not ended, by name."""
    lost_before = mongodb.now() - timedelta(seconds=settings.WORKER_LOST_SECONDS)
    found = [
        _Open(
            document["_id"],
            document["host"],
            document["concurrency"],
            frozenset(document["queues"]),
            document["heartbeat_at"] >= lost_before,
        )
        for document in repository.open_workers()
    ]
    held = repository.held_counts() if found else Counter[ObjectId]()
    return [
        _host(name, [worker for worker in found if worker.host == name], held)
        for name in sorted({worker.host for worker in found})
    ]


def _host(name: str, workers: Iterable[_Open], held: Mapping[ObjectId, int]) -> Host:
    workers = list(workers)
    live = [worker for worker in workers if worker.live]
    return Host(
        name,
        len(live),
        len(workers) - len(live),
        sum(worker.slots for worker in live),
        sum(held[worker.id] for worker in live),
        frozenset[str]().union(*(worker.queues for worker in live)),
    )
