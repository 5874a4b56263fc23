"""`make soak`: a million accepted jobs, and every few seconds a fault drawn by chance.

A replica set of three, Redis, two worker trees. At the end every invariant is checked, and each
second execution is explained by the fault that caused it.
"""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from jobs import clients
from jobs.errors import StoreDown
from tests.system.conftest import Tree
from tests.system.faults.report import CHAOS
from tests.system.faults.stores import wait_until
from tests.system.faults.world import World

JOBS = int(os.environ.get("SOAK_JOBS") or 1_000_000)
BATCH = 2000
PENDING = 60_000  # the enqueuer waits while more than that are in the lanes
LEASE = {"WORKER_HEARTBEAT_SECONDS": "2", "WORKER_LOST_SECONDS": "12"}
SETTLE_SECONDS = 600
RECOVERY_SECONDS = 300  # a killed member replays what came since its last checkpoint


class Soak:
    """Enqueues on a thread of its own while the main thread breaks things."""

    def __init__(self, world: World, jobs: int) -> None:
        self.world = world
        self.jobs = jobs
        self.errors = 0
        self.faults: Counter[str] = Counter()
        self.hurt: set[int] = set()  # the processes that were killed or paused
        self.trees: list[Tree] = []

    def run(self) -> dict[str, Any]:
        began = time.monotonic()
        self.trees = [self.world.tree("--processes", "2", **LEASE) for _ in range(2)]
        enqueuer = threading.Thread(target=self.enqueue)
        enqueuer.start()
        while enqueuer.is_alive():
            time.sleep(self.world.rng.uniform(2, 5))
            fault = self.world.rng.choice(list(FAULTS))
            FAULTS[fault](self)
            self.faults[fault] += 1
            self.say(began)
        self.world.settle(SETTLE_SECONDS)
        self.say(began)
        twice = self.explain()
        count = self.world.check(overlaps=True)
        return {
            "seed": self.world.seed,
            "jobs": count.jobs,
            "executions": count.executions,
            "refused": count.refused,
            "lost": 0,  # `check` has raised if there is one
            "errors": self.errors,
            "faults": dict(self.faults),
            "twice": twice,
            "minutes": (time.monotonic() - began) / 60,
        }

    def say(self, began: float) -> None:
        done = len(self.world.ledger.executions())
        accepted = len(self.world.accepted)
        print(
            f"{time.monotonic() - began:6.0f} s  {accepted:>9,} accepted  {done:>9,} executions  "
            f"{sum(self.faults.values()):>4} faults  {self.errors} enqueues refused",
            flush=True,
        )

    def enqueue(self) -> None:
        """Accept jobs until there are enough; an error is counted and its jobs are not."""
        while len(self.world.accepted) < self.jobs:
            try:
                while clients.redis().llen("taskqueue:lane:default:medium") > PENDING:
                    time.sleep(0.2)
            except Exception:  # Redis is the one that has been killed
                time.sleep(0.2)
            try:
                self.world.submit(BATCH)
            except StoreDown:
                self.errors += 1
                time.sleep(0.5)

    def explain(self) -> dict[str, int]:
        """Count the second executions by what caused them."""
        causes: Counter[str] = Counter()
        for executions in self.world.ledger.by_job().values():
            ended = sum(e.ended is not None for e in executions)
            if ended > 1:
                hurt = any(e.pid in self.hurt for e in executions)
                why = "of a process that was killed or paused" if hurt else "unexplained"
                causes[why] += ended - 1
        return dict(causes)

    # --- faults

    def kill_worker(self) -> None:
        victim = self.world.rng.choice(self.trees).children("taskqueue: worker")
        self.kill(self.world.rng.choice(victim)) if victim else None

    def kill(self, process: psutil.Process) -> None:
        self.hurt.add(process.pid)
        process.kill()

    def kill_tree(self) -> None:
        place = self.world.rng.randrange(len(self.trees))
        self.mark(self.trees[place])
        self.trees[place].kill()
        self.trees[place] = self.world.tree("--processes", "2", **LEASE)

    def pause_tree(self) -> None:
        """Stop a whole tree past its lease: the other one takes its jobs over."""
        tree = self.world.rng.choice(self.trees)
        self.mark(tree)
        tree.signal_all(signal.SIGSTOP)
        time.sleep(float(LEASE["WORKER_LOST_SECONDS"]) + 6)
        tree.signal_all(signal.SIGCONT)

    def mark(self, tree: Tree) -> None:
        self.hurt.update(child.pid for child in tree.children("taskqueue:"))

    def flush(self) -> None:
        clients.redis().flushall()

    def restart_redis(self) -> None:
        self.world.redis.kill()
        time.sleep(1)
        self.world.redis.start()

    def step_down(self) -> None:
        self.world.mongo.step_down()

    def kill_primary(self) -> None:
        """Two of three must live: while one still recovers, no other is killed."""
        members = self.world.mongo.members
        wait_until(lambda: all(m.answers() for m in members), RECOVERY_SECONDS, "all recovered")
        primary = self.world.mongo.wait_for_primary()
        primary.kill()
        time.sleep(self.world.rng.uniform(1, 8))
        primary.start(wait=False)
        self.world.mongo.wait_for_primary()


FAULTS: dict[str, Callable[[Soak], None]] = {
    "worker killed": Soak.kill_worker,
    "tree killed": Soak.kill_tree,
    "tree paused past its lease": Soak.pause_tree,
    "FLUSHALL": Soak.flush,
    "Redis killed": Soak.restart_redis,
    "primary stepped down": Soak.step_down,
    "primary killed": Soak.kill_primary,
}


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_million_jobs_survive_a_fault_every_few_seconds(world: World) -> None:
    world.start(nodes=3, election_ms=2000)  # so that more time is spent working than electing
    result = Soak(world, JOBS).run()
    CHAOS.mkdir(exist_ok=True)
    (CHAOS / "soak.json").write_text(json.dumps(result, indent=2))
    print(json.dumps(result, indent=2))
    assert "unexplained" not in result["twice"]
