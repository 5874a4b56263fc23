"""Rows 21 to 28 of the fault matrix: what can happen to MongoDB."""

import pytest

from tests.system.faults.world import World

row = pytest.mark.row


@row(21, "the primary steps down", "replSetStepDown, 3 times", "L P 1 O A S C")
def test_the_primary_steps_down(world: World) -> None:
    world.start(nodes=3)
    world.tree()
    for _ in range(3):
        world.submit(200, seconds=0.02)
        fault = world.fault()
        world.mongo.step_down()
        world.try_submit(20, pause=0.1)
        world.recovered(fault, "next start after the step-down (s)")
    world.settle(180)
    world.check(crashes=False)
