"""Rows 12 to 20 of the fault matrix: what can happen to Redis."""

import pytest

from jobs import clients
from tests.system.faults.stores import wait_until
from tests.system.faults.world import World

row = pytest.mark.row


@row(
    13,
    "Redis forgets everything",
    "FLUSHALL with a backlog, 3 times",
    "L P 1 O A S C",
    quick=True,
)
def test_flushall(world: World) -> None:
    world.start()
    world.submit(3000)
    clients.redis().flushall()
    fault = world.fault()
    world.tree()
    world.recovered(fault, "first job starts, with the workers' own start (s)")
    for _ in range(2):
        done = world.completed()
        wait_until(lambda done=done: world.completed() > done + 100, 30, "jobs are completed")
        clients.redis().flushall()
    world.settle()
    world.check(crashes=False)
