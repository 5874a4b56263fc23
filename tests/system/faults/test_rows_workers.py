"""Rows 1 to 11 of the fault matrix, and 31: what can happen to workers."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial

import psutil
import pytest
from django.conf import settings

from jobs.clients import Document, collection
from tests.system.conftest import Tree
from tests.system.faults.invariants import Violation
from tests.system.faults.memory import memory_limit
from tests.system.faults.stores import wait_until
from tests.system.faults.sweep import sweep
from tests.system.faults.world import QUICK, Fault, Victim, World, background, cannot_run
from workers import crash_points

row = pytest.mark.row
LEASE = float(QUICK["WORKER_LOST_SECONDS"])
REAL_LEASE = {"WORKER_HEARTBEAT_SECONDS": "5", "WORKER_LOST_SECONDS": "30"}
WORKER = "taskqueue: worker"


def documents(ids: list[str]) -> list[Document]:
    """Read jobs as they are stored."""
    wanted = set(ids)
    return [job for job in collection("jobs").find({}) if str(job["_id"]) in wanted]


def assert_nothing_charged(ids: list[str]) -> None:
    """Each of these has ended well, in its first attempt, and no crash is on its account."""
    for job in documents(ids):
        assert (job["status"], job["attempt"], job["crashes"]) == ("completed", 1, 0), job
        assert len(job["attempts"]) == 1, job["attempts"]


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
    world.submit(80, seconds=0.3)
    killed: list[str] = []  # each once: three crashes would be the end of a job
    for _ in range(5):
        wait_until(lambda: len(tree.children(WORKER)) == 3, 30, "three workers live")
        victim = wait_until(partial(held_still, world, tree, killed), 30, "a worker runs a job")
        fault = world.fault()
        victim.process.send_signal(signal.SIGKILL)
        killed.extend(victim.jobs)
        assert world.runs_again(victim.jobs, fault, "killed worker's job starts again (s)") <= 5
    world.settle()
    world.check()
    assert collection("jobs").count_documents({"crashes": {"$gt": 0}}) <= 5


def held_still(world: World, tree: Tree, but: list[str]) -> Victim | None:
    """Stop a worker that is in the middle of a job, surely: on a busy machine it may just end."""
    if (victim := world.busy(tree)) and not set(victim.jobs) & set(but):
        victim.process.suspend()
        if set(victim.jobs) <= set(world.executing(tree)):
            return victim
        victim.process.resume()
    return None


@row(
    2,
    "a whole tree dies",
    "SIGKILL of the process group in the middle of jobs, a new tree at once; lease 30 s",
    "L P 1 O A S C",
)
def test_a_whole_tree_dies(world: World) -> None:
    world.start()
    settings.WORKER_LOST_SECONDS = float(REAL_LEASE["WORKER_LOST_SECONDS"])
    tree = world.tree(**REAL_LEASE)
    world.submit(60, seconds=0.5)
    wait_until(lambda: len(world.executing(tree)) == 3, 30, "three workers run jobs")
    time.sleep(world.rng.uniform(0.5, 2))
    tree.kill()
    fault = world.fault()
    world.tree(wait=False, **REAL_LEASE)
    held = [str(job["_id"]) for job in collection("jobs").find({"status": "running"})]
    world.figures["jobs held by the killed tree"] = len(held)
    assert world.runs_again(held, fault, "all of its jobs have started again (s)", 90) <= 40
    world.settle()
    world.check()


@row(
    3,
    "a process dies at the worst moment",
    "every crash point, n-th passage (n from 1 to 3): SIGKILL of a worker, steward or client there",
    "L P 1 O A S C",
)
def test_every_crash_point(world: World) -> None:
    world.start()
    done = sweep(world, list(crash_points.POINTS))
    fault = world.fault()
    world.tree("--queues", ",".join(done.queues))
    world.settle()
    world.figures["a healthy tree has run all that was left (s)"] = elapsed(fault)
    world.check(cancelled=frozenset(done.cancelled))


def freeze_a_tree(world: World, **changes: str) -> tuple[Tree, list[str]]:
    """Stop all processes of one of two trees in the middle of jobs; return it and those jobs."""
    world.start()
    variants: list[dict[str, str]] = [{}, changes]
    frozen_first = world.rng.choice([True, False])  # the elder of two stewards leads
    trees = [world.tree(**one) for one in (variants[::-1] if frozen_first else variants)]
    frozen = trees[0 if frozen_first else 1]
    world.submit(30, seconds=1.5)
    wait_until(lambda: len(world.executing(frozen)) == 3, 30, "three workers run jobs")
    time.sleep(world.rng.uniform(0, 0.7))
    frozen.signal_all(signal.SIGSTOP)
    return frozen, world.executing(frozen)


def outlive_the_lease(world: World, **changes: str) -> None:
    """Thaw a tree after its jobs were given to another, which may still run them or be done."""
    zombie, jobs = freeze_a_tree(world, **changes)
    fault = world.fault()
    world.runs_again(jobs, fault, "the zombie's jobs start again (s)")
    if world.rng.choice([True, False]):
        done = {"completed"}
        wait_until(lambda: {j["status"] for j in documents(jobs)} == done, 60, "all completed")
    time.sleep(max(0.0, fault.at + LEASE + 2 - time.monotonic()))
    zombie.signal_all(signal.SIGCONT)
    wait_until(lambda: not set(jobs) & set(world.executing(zombie)), 60, "the zombie's jobs ended")
    world.settle()


@row(
    4,
    "a zombie",
    "SIGSTOP of a whole tree in the middle of jobs, for longer than its lease; SIGCONT",
    "L P 1 A S C, O overlaps",
)
def test_a_zombies_ends_are_refused(world: World) -> None:
    outlive_the_lease(world)
    assert world.check(overlaps=True).refused >= 1


@pytest.mark.control
@row(
    4,
    "a zombie, and no fencing",
    "as row 4, but the zombie tree accepts every end",
    "P or 1 must be violated",
)
def test_without_fencing_a_zombie_is_noticed(world: World) -> None:
    outlive_the_lease(world, CONTROL="unguarded_record")
    with pytest.raises(Violation, match=r"P, completed without|1, more than one end"):
        world.check(overlaps=True)


@row(
    5,
    "a short pause",
    "SIGSTOP of a whole tree in the middle of jobs, for half its lease; SIGCONT",
    "L P 1 O A S C",
)
def test_a_short_pause(world: World) -> None:
    tree, _ = freeze_a_tree(world)
    time.sleep(LEASE / 2)
    tree.signal_all(signal.SIGCONT)
    world.settle()
    count = world.check(crashes=False)
    assert (count.executions, count.refused) == (count.jobs, 0)


@row(
    6,
    "a job holds Python's lock",
    "a C call that holds the GIL for three leases",
    "L P 1 O A S C",
)
def test_a_job_that_holds_the_gil(world: World) -> None:
    world.start()
    world.tree()
    world.tree()
    world.submit(2, "hog", seconds=int(3 * LEASE))
    world.submit(50, seconds=0.1)
    world.settle()
    count = world.check(crashes=False)
    assert (count.executions, count.refused) == (count.jobs, 0)


@row(
    7,
    "out of memory",
    "jobs that outgrow a control group of 400 MB: the kernel kills their workers",
    "L P 1 O A S C, neighbours charged nothing",
)
def test_out_of_memory(world: World) -> None:
    world.start()
    try:
        with memory_limit(400) as limit:
            tree = world.tree(wait=False)
            limit.add(tree.process.pid)
            neighbours = world.submit(30, seconds=0.05)
            gluttons = world.submit(2, "glutton", megabytes=2000)
            neighbours += world.submit(30, seconds=0.05)
            world.settle()
            world.figures["killed by the kernel"] = kills = limit.kills
            world.check(dead=frozenset(gluttons))
    except OSError as error:
        cannot_run(f"needs a memory control group, v1 or v2, that this user may make: {error}")
    assert kills >= 6
    assert_worker_lost(gluttons)
    assert_nothing_charged(neighbours)


def assert_worker_lost(ids: list[str]) -> None:
    """These jobs took three workers with them, and are dead for it."""
    for job in documents(ids):
        assert (job["status"], job["attempt"], job["crashes"]) == ("dead", 0, 3), job
        assert {a["error_type"] for a in job["attempts"]} == {"WorkerLost"}, job["attempts"]


@row(
    7,
    "a job kills its supervisor",
    "a job that sends SIGKILL to its supervisor; a new tree each time, as from a service manager",
    "L P 1 O A S C",
)
def test_a_job_kills_its_supervisor(world: World) -> None:
    world.start()
    world.submit(30, seconds=0.05)
    assassins = world.submit(1, "assassin")
    world.submit(60, seconds=0.05)

    def is_dead() -> bool:
        return documents(assassins)[0]["status"] == "dead"

    killed = 0
    while not is_dead():
        tree = world.tree(wait=False)
        wait_until(lambda tree=tree: tree.process.poll() is not None or is_dead(), 90, "it acts")
        killed += tree.process.poll() == -signal.SIGKILL
    world.figures["supervisors killed"] = killed
    world.settle()
    world.check(dead=frozenset(assassins))
    assert_worker_lost(assassins)
    assert killed == 3


@row(
    8,
    "a job hangs",
    "jobs that sleep for a minute, deaf to SIGTERM, with a timeout of 2 s",
    "L P 1 O A S C",
    quick=True,
)
def test_a_job_hangs(world: World) -> None:
    world.start()
    world.tree()
    hung = world.submit(3, "stubborn", seconds=60)
    fault = world.fault()
    world.submit(60, seconds=0.05)
    wait_until(lambda: world.completed() == 60, 30, "the slots are back")
    world.figures["the others are done, behind three hung jobs (s)"] = elapsed(fault)
    world.settle()
    world.check(dead=frozenset(hung))
    for job in documents(hung):
        assert [a["outcome"] for a in job["attempts"]] == ["timed_out", "timed_out"]
        assert (job["status"], job["attempt"], job["crashes"]) == ("dead", 2, 0)


def elapsed(fault: Fault) -> float:
    """Return the seconds since a moment."""
    return round(time.monotonic() - fault.at, 2)


@row(
    9,
    "a storm of rolling restarts",
    "three trees, every 2 s the next one gets SIGTERM and is replaced, for 40 s, under traffic",
    "L P 1 O A S C, nothing charged",
)
def test_rolling_restarts(world: World) -> None:
    world.start()
    trees = [world.tree() for _ in range(3)]
    slowest = 0.0
    with background(partial(feed, world, random.Random(world.seed), most=0.3)):
        for nth in range(20):
            time.sleep(world.rng.uniform(1, 3))
            tree = trees[nth % 3]
            wait_until(lambda tree=tree: "worker.started" in tree.log, 60, "it has started")
            fault = world.fault()
            tree.signal(signal.SIGTERM)
            assert tree.wait(30) == 0
            slowest = max(slowest, elapsed(fault))
            trees[nth % 3] = world.tree(wait=False)
    world.figures["SIGTERM to the tree's end, slowest of 20 (s)"] = slowest
    world.settle()
    world.check(crashes=False)
    assert_nothing_charged(world.accepted)


def feed(world: World, rng: random.Random, most: float) -> None:
    """Keep some jobs waiting, each of up to so many seconds."""
    if collection("jobs").count_documents({"status": "pending"}, limit=100) < 100:
        world.submit(100, seconds=rng.uniform(most / 20, most))
    time.sleep(0.1)


@row(
    10,
    "SIGTERM, and a job longer than the grace",
    "SIGTERM to one of two trees, with a grace of 2 s, in the middle of a job of 6 s",
    "L P 1 O A S C, nothing charged",
    quick=True,
)
def test_a_job_longer_than_the_grace(world: World) -> None:
    world.start()
    trees = [world.tree(WORKER_GRACE_SECONDS="2", LOG_JSON="1") for _ in range(2)]
    (job,) = world.submit(1, seconds=6)
    wait_until(lambda: any(map(world.executing, trees)), 30, "the job runs")
    (tree,) = filter(world.executing, trees)
    tree.signal(signal.SIGTERM)
    fault = world.fault()
    world.runs_again([job], fault, "its job starts again, the grace of 2 s included (s)")
    assert death(tree) < world.ledger.by_job()[job][1].started
    world.settle()
    world.check(crashes=False)
    (stored,) = documents([job])
    assert (stored["attempt"], stored["crashes"], len(stored["attempts"])) == (1, 0, 1)


def death(tree: Tree) -> float:
    """Return when, on the monotonic clock, a supervisor knew that its worker was dead."""
    lines = map(json.loads, tree.log.splitlines())
    (died,) = [line for line in lines if line["event"] == "worker.died"]
    at = datetime.fromisoformat(died["timestamp"]).timestamp()
    return time.monotonic() - (time.time() - at)


@row(
    11,
    "SIGTERM at any instant",
    "340 SIGTERMs to workers at random moments, eight workers, jobs of 1 to 20 ms",
    "L P 1 O A S C, nothing charged",
)
def test_sigterm_at_any_instant(world: World) -> None:
    world.start()
    tree = world.tree("--processes", "8")
    with background(partial(feed, world, random.Random(world.seed), most=0.02)):
        struck = list(strike(world, tree, WORKER, times=RESTARTS))
    world.figures["workers that got SIGTERM"] = len(struck)
    wait_until(lambda: not any(process.is_running() for process in struck), 30, "all have ended")
    world.settle()
    assert world.check(crashes=False).jobs > RESTARTS
    assert "SIGKILL" not in tree.log
    assert_nothing_charged(world.accepted)


RESTARTS = 340  # with three seeds more than 1,000


def strike(world: World, tree: Tree, title: str, times: int) -> Iterator[psutil.Process]:
    """Send SIGTERM to so many children, each once, at random moments; yield each."""
    struck: set[int] = set()
    while len(struck) < times:
        alive = wait_until(partial(unstruck, tree, title, struck), 60, "the next process has begun")
        victim = world.rng.choice(alive)
        time.sleep(world.rng.uniform(0, 0.4))  # slower than they restart: most are at work
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGTERM)
            struck.add(victim.pid)
            yield victim


def unstruck(tree: Tree, title: str, struck: set[int]) -> list[psutil.Process]:
    """Return the children that have not been signalled yet."""
    return [child for child in tree.children(title) if child.pid not in struck]


@row(
    31,
    "forks",
    "340 forks of workers and stewards under traffic",
    "L P 1 O A S C, no thread beside a fork, no connection in two processes, no standstill",
)
def test_forks(world: World) -> None:
    world.start()
    # Python 3.12 and later warn of a fork beside a thread.
    tree = world.tree("--processes", "8", PYTHONWARNINGS="error:This process:DeprecationWarning")
    slowest, done, checked = 0.0, world.completed(), 0
    with background(partial(feed, world, random.Random(world.seed), most=0.02)):
        for nth, _ in enumerate(strike(world, tree, "taskqueue: ", times=RESTARTS)):
            if nth % 10 == 0:
                moment = world.fault()
                wait_until(lambda done=done: world.completed() > done, 30, "jobs are completed")
                slowest, done = max(slowest, elapsed(moment)), world.completed()
                checked += check_connections(world, tree)
    world.figures["forks"] = RESTARTS
    world.figures["connections looked at"] = checked
    world.figures["longest wait for a completed job (s)"] = slowest
    world.settle()
    assert world.check(crashes=False).jobs > RESTARTS
    assert "DeprecationWarning" not in tree.log


def check_connections(world: World, tree: Tree) -> int:
    """No process has another's connection, and the supervisor has none, nor a second thread."""
    supervisor = psutil.Process(tree.process.pid)
    assert supervisor.num_threads() == 1
    assert not connections(world, supervisor)
    seen: set[str] = set()
    for child in supervisor.children():
        own = connections(world, child)
        assert not own & seen, f"{child} shares {own & seen}"
        seen |= own
    return len(seen)


def connections(world: World, process: psutil.Process) -> set[str]:
    """Return the sockets of a process that are connected to MongoDB or Redis."""
    ports = {world.redis.port, world.mongo.single.port}
    with suppress(psutil.NoSuchProcess, FileNotFoundError):
        found = process.net_connections("tcp")
        ours = [c.fd for c in found if c.raddr and c.raddr.port in ports]
        return {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in ours}
    return set()
