"""Rows 21 to 28 of the fault matrix: what can happen to MongoDB."""

import time
from itertools import count

import pytest

from jobs.clients import collection
from tests.system.faults.stores import wait_until
from tests.system.faults.web import Web
from tests.system.faults.world import World, background

row = pytest.mark.row

NEXT_START = "longest time without a start (s)"


@row(
    21,
    "the primary of three steps down",
    "replSetStepDown, 3 times, with a load of jobs and of API requests",
    "L P 1 O A S C; API answers are 201 or 503, every 201 is stored once; next start <= 15 s",
)
def test_the_primary_steps_down(world: World) -> None:
    world.start(nodes=3)
    web, tags, answered = Web(world), count(), {}
    world.tree()
    world.submit(3000, seconds=0.02)

    def ask() -> None:
        tag = f"n{next(tags)}"
        answered[tag] = web.submit(tag)

    with background(ask):
        for _ in range(3):
            time.sleep(world.rng.uniform(1, 3))
            fault, had = world.fault(), len(answered)
            world.mongo.step_down()
            wait_until(lambda had=had: len(answered) > had + 5, 60, "the API accepts jobs again")
            world.recovered(world.fault(), "a start after the API is back (s)")
            assert world.longest_pause(fault, NEXT_START) <= 15
    world.accepted += answered.values()
    world.settle(180)
    world.check(crashes=False)
    _stored_once(answered)
    world.figures.update(
        api={str(status): times for status, times in web.answers.items()},
        api_slowest_s=round(web.slowest, 1),
    )


def _stored_once(answered: dict[str, str]) -> None:
    """Check that each of these requests made one job, the one that was answered."""
    asked = collection("jobs").find({"tags": {"$in": list(answered)}}, {"tags": 1})
    stored = sorted((job["tags"][0], str(job["_id"])) for job in asked)
    assert stored == sorted(answered.items())
