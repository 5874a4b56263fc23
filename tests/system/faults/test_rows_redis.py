"""Rows 12 to 20 of the fault matrix: what can happen to Redis."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from bson import ObjectId
from django.conf import settings

from jobs import clients, lanes, services
from jobs.clients import collection
from tests.system.conftest import Tree
from tests.system.faults.conftest import CHAOS
from tests.system.faults.proxy import Proxy
from tests.system.faults.stores import wait_until
from tests.system.faults.world import LANES, World

row = pytest.mark.row


# --- 12, 13: it forgets everything


@row(
    12,
    "Redis dies under load and comes back empty",
    "SIGKILL, back after 15 s and again after 2 s",
    "L P 1 O A S C",
)
def test_redis_dies_and_comes_back_empty(world: World) -> None:
    world.start()
    noops = world.submit(30_000, type="noop")
    world.tree()
    wait_until(lambda: world.completed() > 3000, 60, "the workers are at full speed")
    for seconds, more in ((15, 15.0), (2, 0.1)):  # more jobs: so many seconds of work
        before = _rate(world, 1.5)
        world.redis.kill()
        came_back = time.monotonic() + seconds
        world.submit(50, priority="high")
        noops += world.submit(int(more * before), type="noop")
        time.sleep(max(0, came_back - time.monotonic()))
        world.redis.start()
        took, after = _back_to(world, 0.8 * before, 20)
        world.figures[f"away {seconds} s: jobs/s before"] = round(before)
        world.figures[f"away {seconds} s: jobs/s after"] = round(after)
        world.figures[f"away {seconds} s: back to 80 % after (s)"] = round(took, 1)
    world.settle()
    world.check(crashes=False, unledgered=frozenset(noops))


def _rate(world: World, seconds: float) -> float:
    """Return how many jobs are completed in a second."""
    done, began = world.completed(), time.monotonic()
    time.sleep(seconds)
    return (world.completed() - done) / (time.monotonic() - began)


def _back_to(world: World, wanted: float, seconds: float) -> tuple[float, float]:
    """Wait until that many jobs are completed in a second; return when they are, and how many."""
    began = time.monotonic()
    while (rate := _rate(world, 1.0)) < wanted:
        since = time.monotonic() - began
        assert since < seconds, f"{rate:.0f} jobs/s after {since:.0f} s, wanted {wanted:.0f}"
    return time.monotonic() - began, rate


@row(
    13,
    "Redis forgets everything",
    "FLUSHALL with a backlog of 100,000, once without workers and 4 times under load",
    "L P 1 O A S C",
    quick=True,
)
def test_flushall(world: World) -> None:
    world.start()
    world.submit(100_000 if CHAOS else 10_000)  # more than is done between two flushes
    clients.redis().flushall()
    world.tree()
    world.recovered(world.fault(), "first start after the workers are up (s)")
    flushes = [_flush(world) for _ in range(4 if CHAOS else 2)]
    world.settle(500)
    starts = sorted(execution.started for execution in world.ledger.executions())
    waits = [next(s for s in starts if s > back) - flushed for flushed, back in flushes]
    world.figures["first start from a mended lane after a flush (s)"] = round(max(waits), 2)
    world.check(crashes=False)


def _flush(world: World) -> tuple[float, float]:
    """Flush under load; return when, and when there were ids in a lane again."""
    done = world.completed()
    wait_until(lambda: world.completed() > done + 300, 60, "jobs are completed")
    time.sleep(world.rng.random() / 5)
    clients.redis().flushall()
    flushed = time.monotonic()
    wait_until(_waiting_ids, 30, "ids are in the lanes again", every=0.005)
    return flushed, time.monotonic()


def _waiting_ids() -> list[str]:
    """Return the ids in the lanes of the default queue."""
    found: list[str] = []
    for lane in LANES("default"):
        found += clients.redis().lrange(lanes.key(lane), 0, -1)  # type: ignore[arg-type]
    return found


# --- 14, 15: the enqueuer cannot reach it, or cannot hear it


@row(
    14,
    "Redis is down while jobs are enqueued",
    "SIGKILL, and SIGSTOP, for 6 s of enqueues one at a time, then in bulk",
    "L P 1 O A S C",
)
def test_redis_is_down_while_jobs_are_enqueued(world: World) -> None:
    world.start()
    world.tree()
    world.submit(20)
    _enqueue_without(world, "down", world.redis.kill, world.redis.start)
    _enqueue_without(world, "frozen", world.redis.pause, world.redis.resume)
    world.settle()
    world.check(crashes=False)


def _enqueue_without(
    world: World, name: str, away: Callable[[], None], back: Callable[[], None]
) -> None:
    away()
    single = _timed(lambda: world.submit(1), 6.0)
    bulk = _timed(lambda: world.submit(100), 4.0)
    back()
    world.recovered(world.fault(), f"{name}: first start once Redis is back (s)")
    for kind, seconds in (("one", single), ("100 at once", bulk)):
        world.figures[f"{name}: enqueues, {kind}"] = len(seconds)
        world.figures[f"{name}: p99 of an enqueue, {kind} (s)"] = round(_p99(seconds), 3)
        assert _p99(seconds) < 3, f"Redis {name}: an enqueue took {_p99(seconds):.1f} s"


def _timed(act: Callable[[], Any], seconds: float) -> list[float]:
    """Act again and again, 20 times a second at most; return how long each time took."""
    took: list[float] = []
    until = time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        act()
        took.append(time.monotonic() - began)
        time.sleep(0.05)
    return took


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * len(values))]


@row(
    15,
    "a reply of Redis is lost",
    "the n-th reply to LPUSH, RPUSH, LRANGE, BRPOP and the fetch script is cut, 6 times each",
    "L P 1 O A S C",
    quick=True,
)
def test_a_reply_of_redis_is_lost(world: World) -> None:
    world.start()
    with closing(Proxy(world.redis.port)) as ours, closing(Proxy(world.redis.port)) as theirs:
        settings.REDIS_URL = _through(ours)
        _push_with_lost_replies(world, ours)
        tree = world.tree(REDIS_URL=_through(theirs))
        for _ in range(6 if CHAOS else 1):
            _lose_one_of_each(world, ours, theirs)
        cuts = ours.cut + theirs.cut
        settings.REDIS_URL = world.redis.url
        world.settle()
        world.check(crashes=False)
    world.figures.update({f"replies lost to {what.decode()}": n for what, n in cuts.items()})
    raised = tree.log.count("worker.waiting") + tree.log.count("lane.fetch_cut_short")
    assert raised >= cuts[b"EVALSHA"] + cuts[b"BRPOP"], "a lost reply was retried in silence"


def _through(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


def _push_with_lost_replies(world: World, ours: Proxy) -> None:
    """Without workers one can look: what was pushed is in the lane once."""
    for _ in range(2):
        ours.cut_reply(world.rng.randint(1, 5), to=b"LPUSH")
        world.submit(1)
        for _ in range(6):
            world.submit(1)
        lanes._breaker.closed_at = float("-inf")
    assert set(Counter(_waiting_ids()).values()) == {1}, "an id was pushed twice"


def _lose_one_of_each(world: World, ours: Proxy, theirs: Proxy) -> None:
    """Enqueue one at a time, so that workers sleep in BRPOP between, and in bulk for the script."""
    rng = world.rng
    ours.cut_reply(rng.randint(1, 10), to=b"LPUSH")
    theirs.cut_reply(1, to=b"RPUSH")
    for command in (b"EVALSHA", b"BRPOP", b"LRANGE"):
        theirs.cut_reply(rng.randint(1, 8), to=command)
    world.submit(30)

    def all_cut() -> bool:
        world.submit(1)
        return not (ours.waits_to_cut or theirs.waits_to_cut)

    wait_until(all_cut, 60, "all replies are cut", every=0.05)


# --- 16, 17, 20: the connections


@row(
    16,
    "Redis is out of reach while workers sleep in BRPOP",
    "a black hole between them for 3 s, and for 12 s",
    "L P 1 O A S C",
)
def test_a_silent_partition(world: World) -> None:
    world.start()
    with closing(Proxy(world.redis.port)) as proxy:
        world.tree(REDIS_URL=_through(proxy))
        for seconds in (3, 12):
            wait_until(lambda: _blocked(world) == 3, 60, "three workers sleep in BRPOP")
            time.sleep(world.rng.random())
            proxy.hold()
            world.submit(20)
            time.sleep(seconds)
            proxy.heal()
            took = world.recovered(world.fault(), f"first start after {seconds} s (s)")
            assert took <= 10, f"deaf for {took:.1f} s"
            world.settle()
        world.check(crashes=False)


def _blocked(world: World) -> int:
    with world.redis.client() as client:
        return int(client.info("clients")["blocked_clients"])  # type: ignore[index]


@row(
    17,
    "Redis freezes under load",
    f"SIGSTOP for 7 s and {40 if CHAOS else 20} s, while jobs are enqueued",
    "L P 1 O A S C",
)
def test_redis_freezes(world: World) -> None:
    world.start()
    world.tree()
    for seconds in (7, 40 if CHAOS else 20):
        world.submit(300, seconds=0.02)
        done = world.completed()
        wait_until(lambda done=done: world.completed() > done + 50, 60, "jobs are completed")
        world.redis.pause()
        _timed(lambda: world.submit(1, seconds=0.02), seconds)
        world.redis.resume()
        world.recovered(world.fault(), f"first start after {seconds} s (s)")
    world.settle()
    world.check(crashes=False)


@row(
    20,
    "connections to Redis flap",
    f"CLIENT KILL TYPE normal every second for {60 if CHAOS else 20} s",
    "L P 1 O A S C",
)
def test_connections_flap(world: World) -> None:
    world.start()
    tree = world.tree()
    killed = 0
    for _ in range(60 if CHAOS else 20):
        world.submit(20, seconds=0.02)
        time.sleep(world.rng.uniform(0.8, 1.2))
        killed += _kill_clients(world)
    fault = world.fault()
    world.figures["connections killed"] = killed
    world.figures["jobs done meanwhile"] = world.completed()
    world.submit(60, seconds=0.05)
    took = world.recovered(fault, "first start after the last kill (s)")
    assert took <= 10, f"deaf for {took:.1f} s"
    _all_workers_start(world, tree, fault.at)
    world.settle()
    world.check(crashes=False)


def _kill_clients(world: World) -> int:
    with world.redis.client() as client:
        return int(client.client_kill_filter(_type="normal", skipme=True))  # type: ignore[no-untyped-call]


def _all_workers_start(world: World, tree: Tree, since: float) -> None:
    """Keep jobs coming until each worker has started one: none is deaf."""
    workers = {worker.pid for worker in tree.children("taskqueue: worker")}

    def heard() -> bool:
        world.submit(6, seconds=0.05)
        return workers <= {e.pid for e in world.ledger.executions() if e.started > since}

    wait_until(heard, 30, "every worker has started a job", every=0.3)


# --- 18, 19: it remembers too much, or too little


@row(
    18,
    "Redis travels back in time",
    "BGSAVE, half of it is executed and more enqueued, SIGKILL, start from the old file; twice",
    "L P 1 O A S C",
)
def test_redis_travels_back_in_time(world: World) -> None:
    world.start()
    saved = [ObjectId(id) for id in world.submit(600, seconds=0.01)]
    _save(world)
    world.tree()
    for _ in range(2):
        wanted = world.completed() + world.rng.randint(100, 250)
        wait_until(lambda wanted=wanted: world.completed() > wanted, 120, "jobs are completed")
        world.submit(world.rng.randint(50, 150), priority=world.rng.choice(["high", "low"]))
        world.submit(100, seconds=0.01)
        world.redis.kill()
        ended = {"_id": {"$in": saved}, "status": "completed"}
        world.figures["ids of ended jobs that came back"] = collection("jobs").count_documents(
            ended
        )
        world.redis.start()
        world.recovered(world.fault(), "first start after it (s)")
    world.settle()
    assert (world.folder / "redis.log").read_text().count("DB loaded from disk") == 2
    count = world.check(crashes=False)
    assert count.executions == count.jobs, f"{count.executions} executions of {count.jobs} jobs"


def _save(world: World) -> None:
    with world.redis.client() as client:
        client.bgsave()
        wait_until(
            lambda: not client.info("persistence")["rdb_bgsave_in_progress"],  # type: ignore[index]
            60,
            "the snapshot is written",
        )


@row(
    19,
    "Redis is full",
    "maxmemory 5 MB, nearly all of it taken by others, and noeviction; then allkeys-lru",
    "L P 1 O A S C",
)
def test_redis_is_full(world: World) -> None:
    world.start(redis=["--maxmemory", "5mb", "--maxmemory-policy", "noeviction"])
    _fill(world, leave=350_000)
    noops = _overfill(world, "with noeviction")
    world.tree()
    world.settle(240)
    with world.redis.client() as client:
        client.flushall()
        client.config_set("maxmemory", "1300kb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        services.pause("default", actor="test")
        time.sleep(2)  # the workers know by then
        noops += _overfill(world, "with allkeys-lru")
        services.resume("default", actor="test")
        world.settle(240)
        evicted = client.info("stats")["evicted_keys"]  # type: ignore[index]
    world.figures["lanes evicted"] = evicted
    world.check(crashes=False, unledgered=frozenset(noops))
    assert evicted > 0


def _fill(world: World, leave: int) -> None:
    """Store other things in Redis until that many bytes are left."""
    with world.redis.client() as client:
        for n in range(1000):
            memory: Any = client.info("memory")
            if memory["used_memory"] > memory["maxmemory"] - leave - 50_000:
                return
            client.set(f"other:{n}", "x" * 50_000)


def _overfill(world: World, name: str) -> list[str]:
    """Enqueue more than fits, and a few jobs that tell; return the ids of those that do not."""
    noops = world.submit(20_000, type="noop")
    world.submit(50, priority="high")
    world.figures[f"of 20,050 ids in the lanes, {name}"] = in_lanes = len(_waiting_ids())
    assert in_lanes < 20_050
    return noops
