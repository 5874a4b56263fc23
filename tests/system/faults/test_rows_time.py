"""Rows 29, 30 and 32 of the fault matrix: clocks, schedulers, and everything at once."""

import shutil
import signal
import statistics
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from bson import ObjectId

from jobs import repository
from jobs.clients import collection
from tests.system.conftest import Tree
from tests.system.faults.conftest import CHAOS
from tests.system.faults.world import World, cannot_run

row = pytest.mark.row
LATE_SECONDS = 5.0  # on a machine that runs other things too

# A place where clocks go forward and back on these days; both halves of the hour that comes twice.
ZONES = {
    "Europe/Berlin": ("2027-03-28T03:30", "2027-10-31T02:30"),
    "America/New_York": ("2027-03-14T03:30", "2027-11-07T01:30"),
    "Australia/Lord_Howe": ("2027-10-03T02:45", "2027-04-04T01:45"),
    "America/Santiago": ("2027-09-05T01:30", "2027-04-03T23:30"),
    "Africa/Cairo": ("2027-04-30T01:30", "2027-10-28T23:30"),
    "Asia/Kathmandu": ("2027-03-28T03:30", "2027-10-31T02:30"),
}


def libfaketime() -> Path:
    """The library that `apt-get install faketime` brings; the row fails where it is missing."""
    if not shutil.which("faketime"):
        cannot_run("needs faketime: apt-get install faketime")
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


def clock(offset: str) -> dict[str, str]:
    """The environment of a process whose wall clock is wrong by so much."""
    return {
        "LD_PRELOAD": str(libfaketime()),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@row(
    29,
    "wrong clocks",
    "three trees under faketime: an hour fast, an hour slow, one that jumps",
    "L P 1 O A B S C, nothing early or late",
)
def test_wrong_clocks(world: World) -> None:
    world.start()
    jumping = world.folder / "clock"
    jumping.write_text("+0")
    jumps = {"FAKETIME_TIMESTAMP_FILE": str(jumping), "FAKETIME_NO_CACHE": "1"}
    for change in (clock("+1h"), clock("-1h"), {**clock("+0"), **jumps}):
        world.tree("--processes", "1", **change)
    world.submit(60, seconds=0.05, fail_times=1)
    submitted = time.monotonic()
    delayed = world.submit(20, delay=3)
    for offset in ("+2h", "-2h", "+1d", "-1d", "+0"):
        jumping.write_text(offset)
        time.sleep(1.5)
    long = world.submit(3, seconds=8)  # longer than the lease
    world.settle()
    starts = [world.ledger.by_job()[id][0].started - submitted for id in delayed]
    world.figures["delay of 3 s, actual (s)"] = f"{min(starts):.2f} to {max(starts):.2f}"
    assert min(starts) >= 3 - 0.1
    assert max(starts) <= 3 + LATE_SECONDS
    assert len(long) == 3
    world.check(crashes=False)
    check_zones(world)


def check_zones(world: World) -> None:
    """A `run_at` of any zone is the instant that it names, in hours that come twice too."""
    for name, local in ZONES.items():
        for text in local:
            for fold in (0, 1):
                moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(name), fold=fold)
                (id,) = world.submit(run_at=moment)
                stored = collection("jobs").find_one({"_id": ObjectId(id)})
                assert stored is not None
                assert stored["run_at"] == moment.astimezone(UTC)


def leader(world: World) -> Tree:
    """The tree whose steward leads: the oldest supervisor."""
    oldest = min(repository.live_supervisors(60))
    worker = collection("workers").find_one({"supervisor": oldest})
    assert worker is not None
    return next(t for t in world.trees if worker["pid"] in {c.pid for c in t.children("taskq")})


@row(
    30,
    "several stewards",
    "three trees; the leading steward stopped for 4 s, then killed, while jobs fall due",
    "L P 1 O A S C, each due job runs once, on time",
)
def test_several_stewards(world: World) -> None:
    world.start()
    for _ in range(3):
        world.tree("--processes", "1")
    began = time.monotonic()
    due = {world.submit(delay=second / 4)[0]: second / 4 for second in range(4, 64)}
    (steward,) = leader(world).children("taskqueue: steward")
    time.sleep(3)
    steward.send_signal(signal.SIGSTOP)
    time.sleep(4)
    steward.send_signal(signal.SIGCONT)
    time.sleep(2)
    steward.send_signal(signal.SIGKILL)
    world.settle()
    runs = world.ledger.by_job()
    late = [runs[id][0].started - began - delay for id, delay in due.items()]
    world.figures["late, median and most (s)"] = f"{statistics.median(late):.2f}, {max(late):.2f}"
    assert all(len(runs[id]) == 1 for id in due)
    assert max(late) <= LATE_SECONDS
    world.check(crashes=False)


@row(
    32,
    "a herd",
    "10,000 jobs fail at once",
    "L P 1 O A B S C, arrivals spread: the peak is under twice the mean",
)
def test_a_herd(world: World) -> None:
    world.start()
    count = 10_000 if CHAOS else 1_000
    ids = world.submit(count, fail_times=1)
    world.tree()
    world.settle(240)
    runs = world.ledger.by_job()
    again = sorted(runs[id][1].started for id in ids)
    buckets = Counter(int((start - again[0]) / 0.5) for start in again)
    mean = count / (max(buckets) + 1)
    world.figures["peak over mean of second attempts"] = round(max(buckets.values()) / mean, 2)
    assert max(buckets.values()) < 2 * mean
    world.check(crashes=False)


def test_the_last_scheduled_moment_is_a_year_away() -> None:
    moments = [datetime.fromisoformat(text) for local in ZONES.values() for text in local]
    assert max(moments).replace(tzinfo=UTC) - datetime.now(UTC) < timedelta(days=366)
