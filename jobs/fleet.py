"""Who works: hosts with their live workers and slots, and the queues that they serve."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.conf import settings

from jobs import repository


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


def hosts(held: Mapping[str, int]) -> list[Host]:
    """Return each host with a worker that has not ended, by name; `held`: see `selectors.Stats`."""
    groups = repository.hosts(settings.WORKER_LOST_SECONDS)
    lost = defaultdict[str, int](int)
    live: dict[str, Host] = {}
    for group in groups:
        name, workers = group["_id"]["host"], group["workers"]
        if not group["_id"]["live"]:
            lost[name] += len(workers)
            continue
        holds = sum(held.get(str(worker), 0) for worker in workers)
        serves = frozenset[str]().union(*group["queues"])
        live[name] = Host(name, len(workers), 0, group["slots"], holds, serves)
    return [
        replace(live.get(name, Host(name, 0, 0, 0, 0, frozenset())), lost=lost[name])
        for name in sorted({*live, *lost})
    ]
