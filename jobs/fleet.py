"""Who works: hosts with their live workers and slots, of all queues or of those that serve one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings

from jobs import repository


@dataclass(frozen=True)
class Group:
    """The workers of one machine that serve the same queues and are in the same state."""

    host: str
    live: bool
    quiet: bool
    queues: frozenset[str]
    workers: int
    slots: int
    busy: int  # slots that execute something: with prefetch a worker holds more jobs than that


@dataclass(frozen=True)
class Host:
    """Workers of one machine: all of them, or those that serve a queue."""

    name: str
    live: int
    quiet: int  # of the live ones: they take no new job
    lost: int
    slots: int  # of the live ones
    busy: int  # of these slots


def groups(held: Mapping[str, int]) -> list[Group]:
    """Return the workers that have not ended, in groups; `held`: see `counts.Stats`."""
    return [
        Group(
            host=found["_id"]["host"],
            live=found["_id"]["live"],
            quiet=found["_id"]["quiet"],
            queues=frozenset(found["_id"]["queues"]),
            workers=len(found["workers"]),
            slots=sum(worker["slots"] for worker in found["workers"]),
            busy=sum(min(held.get(str(w["id"]), 0), w["slots"]) for w in found["workers"]),
        )
        for found in repository.worker_groups(settings.WORKER_LOST_SECONDS)
    ]


def hosts(groups: Iterable[Group]) -> list[Host]:
    """Return the hosts of these groups, each with the sums of its workers, by name."""
    of_host: dict[str, list[Group]] = {}
    for group in groups:
        of_host.setdefault(group.host, []).append(group)
    return [_host(name, of_host[name]) for name in sorted(of_host)]


def _host(name: str, groups: Sequence[Group]) -> Host:
    live = [group for group in groups if group.live]
    return Host(
        name,
        live=sum(group.workers for group in live),
        quiet=sum(group.workers for group in live if group.quiet),
        lost=sum(group.workers for group in groups if not group.live),
        slots=sum(group.slots for group in live),
        busy=sum(group.busy for group in live),
    )
