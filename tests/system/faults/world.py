"""One fault test's own system: its stores, its worker trees, its ledger; and the test as a client.

The test process enqueues through `jobs.services` as any program would, so its calls are tested too.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest
from bson import ObjectId
from django.apps import apps
from django.conf import settings
from django.db import connection, connections

from jobs import counts, lanes, mongodb, services
from jobs.clients import collection
from jobs.errors import StoreDown
from jobs.requests import Request
from tests.system.conftest import Tree
from tests.system.faults import tasks  # noqa: F401 - registers its job types here too
from tests.system.faults.invariants import Allowed, Count, Violation, check
from tests.system.faults.ledger import Ledger
from tests.system.faults.stores import Redis, ReplicaSet, wait_until

# Everything waits a fifth as long as in production, so that a row takes seconds, not minutes.
QUICK = {
    "WORKER_HEARTBEAT_SECONDS": "1",
    "WORKER_LOST_SECONDS": "6",
    "WORKER_GRACE_SECONDS": "5",
}


@dataclass(frozen=True)
class Fault:
    """A moment, to measure recovery from."""

    at: float


@dataclass(frozen=True)
class Victim:
    """A worker process, and the jobs that it was in the middle of."""

    process: psutil.Process
    jobs: list[str]


class World:
    """`tree()` starts workers, `submit()` enqueues, `settle()` waits, `check()` counts."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.seed = seed
        self.ledger = Ledger(folder / "ledger")
        self.accepted: list[str] = []
        self.refused = 0  # enqueues that raised StoreDown: unknown whether they were stored
        self.trees: list[Tree] = []
        self.figures: dict[str, Any] = {}
        self.mongo = ReplicaSet(folder)
        self.redis = Redis(folder / "redis")
        self.database = f"f_{ObjectId()}"
        self.also = ExitStack()  # what else ends with it

    # --- starting and ending

    def start(self, *, nodes: int = 1, redis: Iterable[str] = (), **mongod: Any) -> None:
        """Start the stores, make the indexes, and have this process use them as a client."""
        self.mongo = ReplicaSet(self.folder, nodes, **mongod)
        self.redis = Redis(self.folder / "redis", *redis)
        self.redis.start()
        self.mongo.start()
        self.connect()
        with connection.schema_editor() as editor:
            for model in apps.get_app_config("jobs").get_models():
                editor.create_model(model)

    def connect(self) -> None:
        """Point this process's clients at these stores, with nothing remembered of others."""
        settings.MONGODB_URI = self.mongo.uri(self.database)
        settings.REDIS_URL, settings.REDIS_PREFIX = self.redis.url, "taskqueue"
        settings.WORKER_LOST_SECONDS = float(QUICK["WORKER_LOST_SECONDS"])
        use_mongodb(HOST=settings.MONGODB_URI, NAME=self.database)
        _forget()

    def env(self, **changes: str) -> dict[str, str]:
        """What a child process needs to work on these stores."""
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.system.faults.settings",
            "MONGODB_URI": self.mongo.uri(self.database),
            "REDIS_URL": self.redis.url,
            "REDIS_PREFIX": "taskqueue",
            "DATA_DIR": str(self.folder),
            "LEDGER": str(self.ledger.path),
            "DEMO_JOBS": "1",
            "SECRET_KEY": "a key of the tests, long enough to be taken for a key",
            "LOG_LEVEL": "INFO",
            **QUICK,
            **changes,
        }

    def tree(self, *options: str, wait: bool = True, **changes: str) -> Tree:
        """Start `runworkers`; returns once its workers are registered."""
        log = self.folder / f"tree-{len(self.trees)}.log"
        tree = Tree(log, self.env(**changes), *options)
        self.trees.append(tree)
        if wait:
            wait_until(lambda: "worker.started" in tree.log, 60, "a worker has started")
        return tree

    def close(self) -> None:
        self.also.close()
        for tree in self.trees:
            tree.signal(signal.SIGCONT) if tree.process.poll() is None else None
            tree.kill()
        self.mongo.stop()
        self.redis.kill()

    # --- jobs

    def submit(self, count: int = 1, type: str = "work", **chosen: Any) -> list[str]:
        """Enqueue jobs of one kind at once; their ids are remembered as accepted."""
        options = {name: chosen.pop(name) for name in OPTIONS if name in chosen}
        request = Request(type=type, payload=chosen, **options)
        ids: list[str] = []
        for start in range(0, count, 2000):
            ids += services.enqueue_many([request] * min(2000, count - start))
        self.accepted += ids
        return ids

    def try_submit(
        self, count: int, pause: float = 0.0, at_once: int = 1, **chosen: Any
    ) -> list[str]:
        """Enqueue one at a time while a store may be away; what raised is counted, not repeated."""
        ids: list[str] = []
        for _ in range(count):
            try:
                ids += self.submit(at_once, **chosen)
            except StoreDown:
                self.refused += at_once
            time.sleep(pause)
        return ids

    def completed(self) -> int:
        return collection("jobs").count_documents({"status": "completed"})

    def fault(self) -> Fault:
        """Say that the fault is happening now."""
        return Fault(time.monotonic())

    def busy(self, tree: Tree) -> "Victim | None":
        """Return a worker of this tree that is in the middle of a job; `None`: none is."""
        running = {e.pid: e.job for e in self.ledger.running()}
        busy = [p for p in tree.children("taskqueue: worker") if p.pid in running]
        if not busy:
            return None
        process = self.rng.choice(busy)
        return Victim(process, [running[process.pid]])

    def executing(self, tree: Tree) -> list[str]:
        """Return the jobs that this tree's workers are in the middle of."""
        pids = {process.pid for process in tree.children("taskqueue: worker")}
        return [e.job for e in self.ledger.executions() if e.ended is None and e.pid in pids]

    def runs_again(self, ids: Iterable[str], fault: Fault, name: str, seconds: float = 60) -> float:
        """Wait until these jobs have started again; remember and return the seconds it took."""

        def starts() -> list[float] | None:
            runs = self.ledger.by_job()
            again = [[e.started for e in runs[id] if e.started > fault.at] for id in ids]
            return [min(one) for one in again] if all(again) else None

        took = float(max(wait_until(starts, seconds, name)) - fault.at)
        self.figures[name] = max(round(took, 2), self.figures.get(name, 0.0))
        return took

    def recovered(self, fault: Fault, name: str = "first start after the fault") -> float:
        """Wait for the next execution after a fault; remember and return the seconds until it."""
        start = wait_until(lambda: self.ledger.first_start_after(fault.at), 120, name)
        self.figures[name] = max(round(start - fault.at, 2), self.figures.get(name, 0.0))
        return float(start - fault.at)

    def longest_pause(self, fault: Fault, name: str) -> float:
        """Return the longest time without a start since a fault; to be asked while jobs wait."""
        starts = sorted(e.started for e in self.ledger.executions() if e.started > fault.at)
        pause = max(b - a for a, b in pairwise([fault.at, *starts, time.monotonic()]))
        self.figures[name] = max(round(pause, 2), self.figures.get(name, 0.0))
        return pause

    def settle(self, seconds: float = 120) -> float:
        """Wait until every accepted job has ended and the lanes are empty; return how long."""
        began = time.monotonic()
        try:
            wait_until(self._settled, seconds, "every job has ended", every=0.2)
        except AssertionError as error:
            ended = [tree.process.poll() for tree in self.trees]
            raise AssertionError(f"{error}; codes of the trees: {ended}") from None
        return time.monotonic() - began

    def _settled(self) -> bool:
        try:
            waiting = {"status": {"$in": ["pending", "running", "scheduled", "retrying"]}}
            if mongodb.repeated(lambda: collection("jobs").find_one(waiting, {"_id": 1}))():
                return False
            held = [lanes.head(lane, 1) for q in services.known_queues() for lane in LANES(q)]
            return not any(held)
        except Exception:  # a store that is still coming back
            return False

    def check(self, **allowed: Any) -> Count:
        """Check all invariants, stop every tree, and see that no process is left of them."""
        count = check(self.accepted, self.ledger, Allowed(**allowed))
        self.stop_trees()
        if left := self.orphans():
            raise Violation(f"S, orphan processes: {left}")
        self.figures.update(
            jobs=count.jobs,
            executions=count.executions,
            twice=count.twice,
            refused=count.refused,
        )
        return count

    def stop_trees(self) -> None:
        for tree in self.trees:
            if tree.process.poll() is None:
                tree.signal(signal.SIGCONT)
                tree.signal(signal.SIGTERM)
        for tree in self.trees:
            tree.wait(60)

    def orphans(self) -> list[int]:
        """The processes that are still alive in the sessions of the trees."""
        sessions = {tree.process.pid for tree in self.trees}
        return [p.pid for p in psutil.process_iter() if _session(p) in sessions]


def LANES(queue: str) -> Any:  # noqa: N802 - the lanes of one queue
    return lanes.in_order([queue])


OPTIONS = ("priority", "queue", "max_attempts", "run_at", "delay", "tags")


def _session(process: psutil.Process) -> int:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return os.getsid(process.pid) if alive else 0
    except (psutil.Error, ProcessLookupError):
        return 0


def cannot_run(why: str) -> NoReturn:
    """End a row that this machine lacks something for: a failure in CI, else skipped."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"This row {why}")


def use_mongodb(**place: Any) -> None:
    """Point this process's one MongoDB client elsewhere: HOST and NAME."""
    wrapper = connections["default"]
    wrapper.close_pool()
    wrapper.settings_dict.update(place)
    vars(wrapper).pop("database", None)
    wrapper.connect()


def _forget() -> None:
    services._know_queue.cache_clear()
    counts.forget()
    mongodb.clock.read_at = float("-inf")
    lanes._breaker.closed_at = float("-inf")


@contextmanager
def background(act: Callable[[], Any]) -> Iterator[None]:
    """Call `act` again and again on a thread of its own for the length of a block."""
    import threading

    stop = threading.Event()
    errors: list[BaseException] = []

    def loop() -> None:
        try:
            while not stop.is_set():
                act()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


PYTHON = sys.executable
