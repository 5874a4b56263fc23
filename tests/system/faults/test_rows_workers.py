"""Rows 1 to 11 of the fault matrix, and 31: what can happen to workers."""

import signal

import pytest

from jobs.clients import collection
from tests.system.faults.stores import wait_until
from tests.system.faults.world import World

row = pytest.mark.row


@row(
    1,
    "a worker dies",
    "SIGKILL of a worker in the middle of a job, 5 times",
    "L P 1 O A S C",
    quick=True,
)
def test_a_worker_dies(world: World) -> None:
    world.start()
    tree = world.tree()
    world.submit(150, seconds=0.1)
    for _ in range(5):
        wait_until(lambda: len(tree.children("taskqueue: worker")) == 3, 30, "three workers live")
        victim = wait_until(lambda: world.busy(tree), 30, "a worker runs a job")
        fault = world.fault()
        victim.process.send_signal(signal.SIGKILL)
        world.runs_again(victim.jobs, fault, "killed worker's job starts again (s)")
    world.settle()
    world.check()
    assert collection("jobs").count_documents({"crashes": {"$gt": 0}}) <= 5
