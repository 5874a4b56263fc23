"""Rows 21 to 28 of the fault matrix: what can happen to MongoDB."""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
from bson import ObjectId
from pymongo.errors import PyMongoError

from jobs import services
from jobs.clients import collection
from jobs.errors import IllegalMove, StoreDown
from tests.system.faults.proxy import Proxy
from tests.system.faults.stores import Mongod, wait_until
from tests.system.faults.web import Web
from tests.system.faults.world import World, background, cannot_run

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


@row(
    22,
    "the primary is cut off, and writes of its are rolled back",
    "its proxy refuses or holds everything until another is elected; w:1 writes to it as control",
    "L P 1 O A S C; the control's writes are rolled back, what was acknowledged is not",
)
def test_a_rollback(world: World) -> None:
    world.start(nodes=3, proxied=True)
    world.tree()
    world.submit(300, seconds=0.05)
    old, fault = world.mongo.wait_for_primary(), world.fault()
    assert old.proxy
    world.rng.choice([old.proxy.refuse, old.proxy.hold])()
    control = _write_to(old, world.database, 20)
    with background(lambda: world.try_submit(1, pause=0.2)):
        world.mongo.wait_for_primary(without=old)
        world.recovered(world.fault(), "a start after the election (s)")
        world.submit(50)
        old.proxy.heal()
        old.wait_for("SECONDARY")
    world.figures["seconds until it was a secondary"] = round(time.monotonic() - fault.at, 1)
    world.settle(180)
    _rolled_back(old, world.database, control)
    world.check(crashes=False)
    world.figures.update(refused_enqueues=world.refused, rolled_back=len(control))


def _write_to(member: Mongod, database: str, number: int) -> list[ObjectId]:
    """Write documents that this member alone acknowledges; return their ids."""
    with member.client(w=1, journal=False) as client:
        documents = [{"_id": ObjectId()} for _ in range(number)]
        return client[database]["control"].insert_many(documents).inserted_ids


def _rolled_back(member: Mongod, database: str, ids: list[ObjectId]) -> None:
    """Check that these documents are gone from every member, and set aside by this one."""
    assert collection("control").count_documents({}) == 0
    with member.client(readPreference="secondaryPreferred") as client:
        assert client[database]["control"].count_documents({"_id": {"$in": ids}}) == 0
    assert list((member.folder / "rollback").rglob("*.bson"))


@row(
    22,
    "the primary of three is killed",
    "SIGKILL of the primary under load, 2 times, started again each time",
    "L P 1 O A S C",
)
def test_the_primary_is_killed(world: World) -> None:
    world.start(nodes=3)
    world.tree()
    world.submit(1500, seconds=0.02)
    for _ in range(2):
        fault, primary = world.fault(), world.mongo.wait_for_primary()
        primary.kill()
        with background(lambda: world.try_submit(1, pause=0.2)):
            world.mongo.wait_for_primary()
            world.recovered(world.fault(), "a start after the election (s)")
        world.longest_pause(fault, NEXT_START)
        primary.start()
        primary.wait_for("SECONDARY")
    world.settle(180)
    world.check(crashes=False)
    world.figures["refused_enqueues"] = world.refused


@row(
    23,
    "the primary of three is paused",
    "SIGSTOP of the primary for 20 s under load, then SIGCONT",
    "L P 1 O A S C; nothing that the stale primary acknowledges is lost",
)
def test_the_primary_is_paused(world: World) -> None:
    world.start(nodes=3)
    world.tree()
    world.submit(1500, seconds=0.02)
    primary, fault = world.mongo.wait_for_primary(), world.fault()
    primary.pause()
    with background(lambda: world.try_submit(1, pause=0.2)):
        time.sleep(20)
        world.longest_pause(fault, NEXT_START)
        primary.resume()
        stale = _durable_writes(primary, world.database, 5)
        primary.wait_for("SECONDARY")
    world.settle(180)
    kept = collection("control").count_documents({"_id": {"$in": stale}})
    assert kept == len(stale)
    world.check(crashes=False)
    world.figures.update(refused_enqueues=world.refused, acknowledged_by_stale=len(stale))


def _durable_writes(member: Mongod, database: str, tries: int) -> list[ObjectId]:
    """Write to this very member, as durably as jobs are; return what it acknowledged."""
    acknowledged = []
    with member.client(w="majority", journal=True, wTimeoutMS=1000) as client:
        for _ in range(tries):
            with suppress(PyMongoError):
                acknowledged.append(client[database]["control"].insert_one({}).inserted_id)
    return acknowledged


KILLS = 67  # by three seeds: 201


@row(
    24,
    "mongod is killed right after it acknowledged",
    f"one member, {KILLS} times: enqueue, SIGKILL within 5 ms, start again",
    "L P 1 S C",
)
def test_killed_at_the_acknowledgement(world: World) -> None:
    world.start()
    took = []
    for _ in range(KILLS):
        ids = world.submit(world.rng.choice([1, 1, 5, 50]))
        returned = time.monotonic()
        world.mongo.single.signal(signal.SIGKILL)
        took.append(time.monotonic() - returned)
        _start_again(world)
        assert _missing(world, "jobs", ids) == 0
    assert sorted(took)[KILLS // 2] < 0.005  # on a busy machine some come late
    world.tree()
    world.settle()
    world.check(crashes=False)
    within = sum(seconds < 0.005 for seconds in took)
    world.figures.update(kills=KILLS, kills_within_5_ms=within)


def _start_again(world: World) -> None:
    world.mongo.single.kill()
    world.mongo.single.start(wait=False)
    world.mongo.wait_for_primary()


@row(
    24,
    "mongod is killed right after it acknowledged",
    "the same with w:1, j:false and a journal written every 500 ms: must be seen to lose",
    "not L",
)
@pytest.mark.control
def test_control_of_killed_at_the_acknowledgement(world: World) -> None:
    world.start(journal_ms=500)
    lost = 0
    for _ in range(5):
        ids = [str(id) for id in _write_to(world.mongo.single, world.database, 5)]
        _start_again(world)
        lost += _missing(world, "control", ids)
    world.figures.update(acknowledged=25, lost=lost)
    assert lost > 0


def _missing(world: World, name: str, ids: list[str]) -> int:
    """Return how many of these documents the member does not have."""
    wanted = {"_id": {"$in": [ObjectId(id) for id in ids]}}
    with world.mongo.single.client() as client:
        return len(ids) - client[world.database][name].count_documents(wanted)


@row(
    25,
    "MongoDB is down for more than three leases",
    "SIGKILL of all three members for 20 s (the lease: 6 s) while jobs run on two trees",
    "L P 1 O A S C; no false reap: every job is executed once",
)
def test_all_members_are_down(world: World) -> None:
    world.start(nodes=3)
    trees = [world.tree("--processes", "2") for _ in range(2)]
    long = world.submit(4, seconds=25)
    wait_until(lambda: len(world.ledger.executions()) == 4, 60, "four long jobs run")
    world.submit(100, seconds=0.02)
    for member in world.mongo.members:
        member.kill()
    time.sleep(20)
    for member in world.mongo.members:
        member.start(wait=False)
    world.mongo.wait_for_primary()
    back = world.fault()
    world.submit(20)
    world.recovered(back, "a start after there is a primary (s)")
    world.settle(180)
    assert _outcomes() == {"completed"}
    assert world.check(crashes=False).executions == len(world.accepted)
    assert not any("worker.lost" in tree.log for tree in trees)
    world.figures["long jobs through the outage"] = len(long)


def _outcomes() -> set[str]:
    """Return how executions ended, of all jobs."""
    return set(collection("jobs").distinct("attempts.outcome"))


CUTS = 40 if os.environ.get("CHAOS") else 8


@row(
    26,
    "the reply to a write or a read is lost",
    f"a proxy drops the n-th reply from MongoDB, at random, {CUTS} times; a tree is killed too",
    "L P 1 O A S C; nothing of our own is refused, no job is doubled",
    quick=True,
)
def test_replies_are_lost(world: World) -> None:
    world.start(proxied=True)
    proxy = world.mongo.single.proxy
    assert proxy
    world.tree()
    if CUTS > 8:
        _kill_a_busy_tree(world)  # there is something to reap
    for _ in range(CUTS):
        act = world.rng.choice([_submit_one, _submit_some, _steer])
        proxy.cut_reply(world.rng.randint(1, 30))
        while proxy.waits_to_cut:
            act(world)
    proxy.heal()
    world.settle(180)
    assert world.check().refused == 0
    assert collection("jobs").count_documents({}) <= len(world.accepted) + world.refused
    world.figures.update(refused_enqueues=world.refused, lost_replies=_commands(proxy.lost))


def _submit_one(world: World) -> None:
    world.try_submit(1, seconds=0.01, delay=world.rng.choice([None, 1]))


def _submit_some(world: World) -> None:
    world.try_submit(1, at_once=3, fail_times=world.rng.choice([0, 1]))


def _steer(world: World) -> None:
    """Cancel a job that waits, then have it run after all."""
    for id in world.try_submit(1, delay=600):
        _insist(services.cancel, id)
        _insist(services.requeue, id)


def _insist(verb: Callable[..., None], id: str) -> None:
    """As a person does: again after a 503, content if it turns out to be done."""
    try:
        verb(id, actor="ada")
    except StoreDown:
        with suppress(IllegalMove):
            _insist(verb, id)


def _kill_a_busy_tree(world: World) -> None:
    tree = world.tree()
    world.submit(12, seconds=1)
    wait_until(lambda: world.busy(tree), 30, "it runs a job")
    tree.kill()


def _commands(requests: list[bytes]) -> dict[str, int]:
    """Name the commands that these messages carry: OP_MSG, whose first field is the command."""
    names = [m[26:].split(b"\0")[0].decode("ascii", "replace") or "?" for m in requests]
    return dict(Counter(names).most_common())


@row(
    27,
    "a tree is cut off from MongoDB alone",
    "its proxy holds everything for two leases in the middle of jobs; Redis stays, another works",
    "L P 1 A S C; its jobs run elsewhere, its late ends are refused, it works again in 10 s",
)
def test_a_tree_is_cut_off(world: World) -> None:
    world.start()
    proxy = Proxy(world.mongo.single.port)
    world.also.callback(proxy.close)
    uri = f"mongodb://127.0.0.1:{proxy.port}/{world.database}?directConnection=true"
    cut_off = world.tree(MONGODB_URI=uri)
    pids = {worker.pid for worker in cut_off.children("taskqueue: worker")}
    held = world.submit(3, seconds=15)  # longer than it takes the other tree to start
    wait_until(lambda: len(world.ledger.executions()) == 3, 30, "its three workers are busy")
    world.tree()
    proxy.hold()
    fault = world.fault()
    world.submit(20, seconds=0.5)
    world.runs_again(held, fault, "its jobs start elsewhere (s)")
    time.sleep(max(0.0, fault.at + 12 - time.monotonic()))
    world.submit(200, seconds=0.3)
    proxy.heal()
    healed = time.monotonic()
    again = wait_until(lambda: _first_start(world, pids, healed), 60, "it takes jobs again")
    world.figures["it takes jobs again (s)"] = round(again - healed, 2)
    world.settle(180)
    refused = world.check(overlaps=True).refused
    assert again - healed <= 10
    assert 3 <= refused <= 6


def _first_start(world: World, pids: set[int], moment: float) -> float | None:
    runs = world.ledger.executions()
    return min((e.started for e in runs if e.pid in pids and e.started > moment), default=None)


@row(
    28,
    "the disk is full",
    "dbpath on a tmpfs of 400 MB that a file fills up; freed after 5 s",
    "L P 1 O A S C; enqueue raises StoreDown, and after there is room again all of it runs",
)
def test_the_disk_is_full(world: World) -> None:
    with _small_disk(world.folder / "mongod-0") as disk:
        world.start()
        world.tree()
        world.submit(300, seconds=0.02)
        filler = _fill(disk)
        world.try_submit(5)  # there is room left in the journal, which is preallocated
        with suppress(PyMongoError):
            world.mongo.single.command("fsync")  # a checkpoint, as comes once a minute
        wait_until(lambda: _cannot_accept(world), 60, "nothing is accepted any more")
        time.sleep(5)
        filler.unlink()
        died = world.mongo.single.process.poll() is not None
        if died:
            world.mongo.single.start()
        world.mongo.wait_for_primary()
        freed = world.fault()
        world.try_submit(20, pause=0.1)
        world.recovered(freed, "a start after there is room (s)")
        world.settle(180)
        world.check(crashes=False)
        world.figures.update(mongod_died=died, refused_enqueues=world.refused)
        world.mongo.stop()


def _cannot_accept(world: World) -> bool:
    world.try_submit(1)
    return world.refused > 0


def _fill(disk: Path) -> Path:
    """Fill a disk with a file, to the last byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return filler


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 400 MB at this place."""
    folder.mkdir(exist_ok=True)
    options = ["-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True)
    if mounted.returncode:
        cannot_run(f"needs the right to mount a tmpfs (root): {mounted.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
