"""Row 34 of the fault matrix: everybody at the same jobs at once."""

import random

import pytest

from jobs.clients import collection
from tests.services import test_races as races
from tests.services.test_races import threads  # noqa: F401 - a fixture
from tests.system.faults.world import World

row = pytest.mark.row


@row(
    34,
    "races of people, workers and stewards",
    "cancel, requeue, record, reap, bury and claim by 8 threads at once, 100 times",
    "L 1 S C, the audit has one row for each accepted act",
)
def test_admin_races(world: World, threads) -> None:  # noqa: F811
    world.start()
    random.seed(world.seed)
    races.register_live()
    seen: list[races.Seen] = []
    for _ in range(100):
        held = races.running_jobs("work")
        world.accepted += [str(job.id) for job in held]
        seen += races.at_once(threads, races.ACTS, held)
    races.check_ends(seen)
    races.check_people_took_turns(seen)
    races.check_audit(seen)
    races.check_counts()
    acts = sum(one.people.total() for one in seen)
    world.figures.update({"accepted acts of people": acts})
    world.tree()
    world.settle()
    ids = frozenset(world.accepted)
    world.check(cancelled=ids, dead=dead(), unledgered=ids)


def dead() -> frozenset[str]:
    found = collection("jobs").find({"status": "dead"}, {"_id": 1})
    return frozenset(str(job["_id"]) for job in found)
