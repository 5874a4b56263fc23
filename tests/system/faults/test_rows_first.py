import os
import random
import signal

import pytest

from jobs import clients
from jobs.clients import collection
from tests.system.faults.stores import wait_until
from tests.system.faults.world import World

row = pytest.mark.row


@row(1, "a worker dies", "SIGKILL of a worker in the middle of a job, five times", "L P 1 O A S C", quick=True)
def test_a_worker_dies(world: World) -> None:
    world.start()
    tree = world.tree()
    world.submit(150, seconds=0.05)
    for _ in range(5):
        wait_until(lambda: collection("jobs").find_one({"status": "running"}), 30, "a job runs")
        victim = world.rng.choice(tree.children("taskqueue: worker"))
        fault = world.fault()
        victim.send_signal(signal.SIGKILL)
        world.recovered(fault)
    world.settle()
    world.check()


@row(13, "Redis forgets everything", "FLUSHALL with a backlog, three times", "L P 1 O A S C", quick=True)
def test_flushall(world: World) -> None:
    world.start()
    world.submit(3000)
    clients.redis().flushall()
    world.tree()
    for _ in range(2):
        wait_until(lambda: world.completed() > 100, 30, "jobs are completed")
        clients.redis().flushall()
    world.settle()
    world.check(crashes=False)


@row(21, "the primary steps down", "replSetStepDown every 8 s, three times", "L P 1 O A S C")
def test_step_down(world: World) -> None:
    world.start(nodes=3)
    world.tree()
    for _ in range(3):
        world.submit(200, seconds=0.02)
        fault = world.fault()
        world.mongo.step_down()
        world.try_submit(20, pause=0.1)
        world.recovered(fault, "seconds until the next start")
    world.settle(180)
    world.check(crashes=False)
