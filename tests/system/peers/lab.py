"""One run: a fresh Redis, a queue's workers and producers, and what came of the jobs."""

import contextlib
import functools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from pymongo.errors import PyMongoError

from taskqueue.embedded import die_with_parent
from tests.system.peers.drivers.base import ROOT, Driver, inherited
from tests.system.peers.ledger import LEDGER, Ledger
from tests.system.peers.stores import Redis
from tests.system.peers.tree import Tree

BOOT_SECONDS = 60
ANSWER_SECONDS = 30
QUIET_SECONDS = 4
LOOK_SECONDS = 0.5


@dataclass
class Fault:
    """What was done. Recovery is counted `since` then, and waited for from when it was `over`."""

    since: float
    over: float
    affected: set[int] | None = None  # None: all that was accepted
    note: str = ""


class Producer:
    """A process that enqueues, as a web process would: one at a time, on one client."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
                preexec_fn=functools.partial(die_with_parent, os.getpid()),
            )
        self._unread = b""
        if self._answer(BOOT_SECONDS) is None:
            raise RuntimeError(f"The producer did not start; see {log}.")

    def enqueue(self, job: int) -> str | None:
        """Return what the call raised, `None` when it returned."""
        assert self.process.stdin
        self.process.stdin.write(f"{job}\n".encode())
        self.process.stdin.flush()
        while answer := self._answer(ANSWER_SECONDS):
            if answer["job"] == job:  # not that of an earlier call, which came too late
                return answer["error"]
        return f"no answer within {ANSWER_SECONDS} s"

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        assert self.process.stdout
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return None
            if not (chunk := os.read(self.process.stdout.fileno(), 65536)):
                raise RuntimeError("The producer ended.")
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


@dataclass
class Lab:
    """Everything of one run; `laboratory` makes and ends it."""

    driver: Driver
    folder: Path
    redis: Redis
    variables: dict[str, str]
    quick: bool
    ledger: Ledger
    accepted: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    trees: list[Tree] = field(default_factory=list)
    producers: dict[str, Producer] = field(default_factory=dict)

    def env(self, url: str) -> dict[str, str]:
        own = {**self.variables, "REDIS_URL": url, LEDGER: str(self.ledger.path)}
        return {**inherited(), **self.driver.environment(), **own}

    def tree(self, url: str = "") -> Tree:
        url = url or self.redis.url
        log = self.folder / f"tree-{len(self.trees)}.log"
        self.trees.append(Tree(self.driver.members(url), self.env(url), log))
        return self.trees[-1]

    def enqueue(self, count: int, url: str = "") -> None:
        """Enqueue the next jobs, one call each, and note which calls returned."""
        url = url or self.redis.url
        if url not in self.producers:
            log = self.folder / "producer.log"
            self.producers[url] = Producer(self.driver.producer(), self.env(url), log)
        first = len(self.accepted) + len(self.refused)
        for job in range(first, first + count):
            self._note(job, self.producers[url].enqueue(job))

    def _note(self, job: int, error: str | None) -> None:
        if error is None:
            self.accepted.add(job)
        else:
            self.refused[job] = error

    def tend(self) -> None:
        """Read the ledger and be the trees' service manager."""
        self.ledger.read()
        for tree in self.trees:
            tree.tend()

    def until(self, condition: Callable[[], Any], seconds: float) -> bool:
        """Wait for something, tending meanwhile; whether it came true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.tend()
            if condition():
                return True
            time.sleep(0.005)
        return False

    def wait(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def running(self, count: int = 10) -> None:
        """Wait until that many jobs have ended, so that the workers are known to run."""
        if not self.until(lambda: len(self.ledger.ended()) >= count, BOOT_SECONDS):
            raise RuntimeError(f"No {count} jobs had ended after {BOOT_SECONDS} s.")

    def held(self) -> int | None:
        """What the queue itself says it still holds; `None` while its store is away."""
        try:
            return self.driver.held(self.redis.client)
        except (redis.RedisError, PyMongoError):
            return None

    def settle(self, deadline: float) -> None:
        """Wait until the queue holds nothing and the ledger is quiet, or for the deadline."""
        while time.monotonic() < deadline:
            self.wait(LOOK_SECONDS)
            last = self.ledger.entries[-1].at if self.ledger.entries else 0.0
            if time.monotonic() - last >= QUIET_SECONDS and self.held() == 0:
                return

    def close(self) -> None:
        """End everything, whatever goes wrong with one of them."""
        with contextlib.ExitStack() as stack:
            for producer in self.producers.values():
                stack.callback(producer.close)
            for tree in self.trees:
                stack.callback(tree.kill)


@contextlib.contextmanager
def laboratory(driver: Driver, folder: Path, quick: bool) -> Iterator[Lab]:
    """Everything that one run needs, in a folder of its own; nothing of it outlives the block."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        store = Redis(folder / "redis")
        stack.callback(store.close)
        variables = stack.enter_context(driver.prepare(folder))
        lab = Lab(driver, folder, store, variables, quick, Ledger(folder / "ledger.jsonl"))
        stack.callback(lab.close)
        yield lab


def count(lab: Lab, fault: Fault) -> dict[str, Any]:
    """What came of the accepted jobs, by the ledger; `late`: the queue still holds them."""
    starts, ends = lab.ledger.times("start"), lab.ledger.times("end")
    first = lab.ledger.first_end(fault.since)
    missing = lab.accepted - ends.keys()
    late = min(len(missing), lab.held() or 0)
    failed = min(len(missing) - late, lab.driver.failed(lab.redis.client))
    affected = (lab.accepted if fault.affected is None else fault.affected) & lab.accepted
    return {
        "accepted": len(lab.accepted),
        "ended": len(lab.accepted & ends.keys()),
        "lost": len(missing) - late,
        "failed": failed,
        "late": late,
        "twice": _more_than_once(ends),
        "started_twice": _more_than_once(starts),
        "unasked": len(lab.refused.keys() & ends.keys()),
        "refused": len(lab.refused),
        "seconds_first": None if first is None else round(first - fault.since, 2),
        "seconds_all": last_of(fault.since, affected, ends),
    }


def _more_than_once(times: dict[int, list[float]]) -> int:
    return sum(len(each) > 1 for each in times.values())


def last_of(since: float, affected: set[int], ends: dict[int, list[float]]) -> float | None:
    """Seconds until the last affected job had ended once; `None` when one has not."""
    if affected - ends.keys():
        return None
    return round(max([0.0, *(min(ends[job]) - since for job in affected)]), 2)
