"""The rows: what is done to each queue. The numbers are those of the fault matrix."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.peers.drivers.base import Driver
from tests.system.peers.lab import Fault, Lab, count, laboratory
from tests.system.peers.ledger import Entry, seconds_of
from tests.system.peers.proxy import Proxy
from tests.system.peers.tree import Tree

DROPS = 10  # lost replies a run, each at a different n
BETWEEN_ERRORS = 2.5  # until an enqueuer that avoids a failing Redis asks it again
AWAY_SECONDS = 2.0
BEYOND_LEASE = 20.0
STORM_ROUNDS, STORM_EVERY, LONGEST_BOOT = 10, 3.0, 15.0


def undisturbed(lab: Lab, size: int) -> Fault:
    """Nothing is harmed; the control."""
    lab.enqueue(size)
    lab.tree()
    lab.running(1)
    now = time.monotonic()
    return Fault(now, now)


def kill_child(lab: Lab, size: int) -> Fault:
    """SIGKILL the process that is executing a job."""
    lab.enqueue(size)
    lab.tree()
    lab.running()
    victim = amid_a_job(lab)
    os.kill(victim.pid, signal.SIGKILL)
    now = time.monotonic()
    lab.wait(0.05)
    hit = {entry.job for entry in lab.ledger.open() if entry.pid == victim.pid}
    return Fault(now, now, hit, "" if hit else "the process died between two jobs")


def kill_tree(lab: Lab, size: int) -> Fault:
    """SIGKILL every process of the tree while it executes jobs; start another at once."""
    lab.enqueue(size)
    tree = lab.tree()
    lab.running()
    amid_a_job(lab)
    tree.kill()
    now = time.monotonic()
    lab.ledger.read()
    hit = {entry.job for entry in lab.ledger.open()}
    lab.tree()
    return Fault(now, now, hit, f"{len(hit)} running when killed")


def zombie(lab: Lab, size: int) -> Fault:
    """SIGSTOP a tree amid its jobs for longer than its lease, while another tree works."""
    lab.enqueue(size)
    tree = lab.tree()
    lab.running()
    amid_a_job(lab)
    tree.pause()
    now = time.monotonic()
    lab.ledger.read()
    hit = {entry.job for entry in lab.ledger.open()}
    lab.tree()
    pause = lab.driver.lease + BEYOND_LEASE
    lab.wait(pause)
    tree.resume()
    return Fault(now, time.monotonic(), hit, f"{len(hit)} running when stopped for {pause:.0f} s")


def storm(lab: Lab, size: int) -> Fault:
    """SIGTERM the tree amid its jobs and start another, every 3 s, ten times.

    A tree that needs longer to start is waited for: each SIGTERM is to meet jobs that run.
    """
    lab.enqueue(size)
    trees = [lab.tree()]
    lab.running()
    rounds = 3 if lab.quick else STORM_ROUNDS
    for _ in range(rounds):
        lab.wait(STORM_EVERY)
        lab.until(lambda: works(lab, trees[-1]), LONGEST_BOOT)
        trees[-1].terminate()
        trees.append(lab.tree())
    now = time.monotonic()
    return Fault(now, now, None, f"{rounds} trees ended by SIGTERM")


def redis_killed(lab: Lab, size: int) -> Fault:
    """SIGKILL Redis with a backlog; it comes back empty after 2 s."""
    before = _backlog(lab, size)
    lab.redis.kill()
    now = time.monotonic()
    lab.wait(AWAY_SECONDS)
    lab.redis.start()
    return _with_more_jobs(lab, size, now, before)


def flushed(lab: Lab, size: int) -> Fault:
    """FLUSHALL with a backlog."""
    before = _backlog(lab, size)
    lab.redis.client.flushall()
    return _with_more_jobs(lab, size, time.monotonic(), before)


def reply_to_worker_lost(lab: Lab, size: int) -> Fault:
    """Lose one reply of Redis to the workers, again and again at another n, a second apart."""
    lab.enqueue(size)
    with Proxy(lab.redis.port) as proxy:
        lab.tree(proxy.url)
        lab.running(5)
        now = time.monotonic()
        for n in range(3, 3 + drops(lab)):
            proxy.drop(n)
            lab.until(lambda: not proxy.armed, 5)
            now = time.monotonic()
            lab.wait(1)
        lab.settle(now + lab.driver.patience)  # the proxy must outlive the workers' work
        return Fault(now, now, None, _dropped(proxy))


def reply_to_producer_lost(lab: Lab, size: int) -> Fault:
    """Lose one reply of Redis to the enqueuer, again and again at another n."""
    lab.tree()
    with Proxy(lab.redis.port) as proxy:
        lab.enqueue(5, proxy.url)
        for n in range(3, 3 + drops(lab)):
            proxy.drop(n)
            lab.enqueue(size // drops(lab), proxy.url)
            lab.wait(BETWEEN_ERRORS)
        now = time.monotonic() - BETWEEN_ERRORS
        return Fault(now, now, None, _dropped(proxy))


def drops(lab: Lab) -> int:
    return 3 if lab.quick else DROPS


def _dropped(proxy: Proxy) -> str:
    counts = Counter(proxy.dropped)
    names = ", ".join(f"{name} x {number}" for name, number in counts.most_common())
    return f"{len(proxy.dropped)} replies lost: {names}"


def _backlog(lab: Lab, size: int) -> int:
    lab.enqueue(size)
    lab.tree()
    lab.running()
    return len(lab.ledger.ended())


def _with_more_jobs(lab: Lab, size: int, since: float, before: int) -> Fault:
    """A tenth more jobs after the fault show whether the workers still work."""
    over = time.monotonic()
    lab.enqueue(size // 10)
    later = set(range(size, size + size // 10)) & lab.accepted
    lab.until(lambda: later <= lab.ledger.ended(), lab.driver.patience)
    ends = lab.ledger.times("end")
    last = max((ends[job][0] for job in later & ends.keys()), default=since) - since
    note = f"{size - before} not ended at the fault; of {len(later)} enqueued after it "
    note += f"{len(later & ends.keys())} ran, the last after {last:.1f} s"
    return Fault(since, over, None, note)


def works(lab: Lab, tree: Tree) -> bool:
    """Whether a job runs in this tree, or none is left to run."""
    now = time.monotonic()
    fresh = (entry for entry in lab.ledger.open() if now - entry.at < seconds_of(entry.job))
    return any(tree.owns(entry.pid) for entry in fresh) or lab.accepted <= lab.ledger.ended()


def amid_a_job(lab: Lab) -> Entry:
    """Wait for a job that has just started and has more than 100 ms to go."""
    found: list[Entry] = []

    def fresh() -> bool:
        now = time.monotonic()
        found[:] = [
            entry for entry in lab.ledger.open() if seconds_of(entry.job) - (now - entry.at) > 0.1
        ]
        return bool(found)

    if not lab.until(fresh, 20):
        raise RuntimeError("No job was running long enough.")
    return found[0]


@dataclass(frozen=True)
class Row:
    number: str
    title: str
    act: Callable[[Lab, int], Fault]
    size: int
    quick: int


ROWS = (
    Row("0", "no fault, the control", undisturbed, 100, 30),
    Row("1", "a worker process SIGKILLed amid a job", kill_child, 100, 40),
    Row("2", "the whole tree SIGKILLed, another started at once", kill_tree, 100, 40),
    Row("4", "a tree SIGSTOPped for its lease + 20 s, then SIGCONT", zombie, 100, 40),
    Row("9", "SIGTERM amid jobs and restart, every 3 s, ten times", storm, 540, 220),
    Row("12", "Redis (without persistence) SIGKILLed, back empty after 2 s", redis_killed, 200, 60),
    Row("13", "FLUSHALL with a backlog", flushed, 200, 60),
    Row("15w", "ten replies of Redis to the workers lost", reply_to_worker_lost, 300, 120),
    Row("15e", "ten replies of Redis to the enqueuer lost", reply_to_producer_lost, 150, 45),
)


def run_row(row: Row, driver: Driver, folder: Path, quick: bool) -> dict[str, Any]:
    """Do one row to one queue and count."""
    with laboratory(driver, folder, quick) as lab:
        fault = row.act(lab, row.quick if quick else row.size)
        lab.settle(fault.over + driver.patience)
        lab.ledger.read()
        restarts = sum(tree.restarts for tree in lab.trees)
        notes = [fault.note, f"{restarts} restarts" if restarts else ""]
        counted = count(lab, fault)
        return {
            "row": row.number,
            "peer": driver.name,
            **counted,
            "note": "; ".join(note for note in notes if note),
        }
