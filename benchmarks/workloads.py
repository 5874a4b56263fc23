"""What is measured. Each function is one measurement of one system and returns its figures."""

import contextlib
import itertools
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks import load
from benchmarks.handlers import is_slow
from benchmarks.limit.client import API_BULK
from benchmarks.processes import Client, Failed, Tree, until
from benchmarks.stage import BATCH, Stage
from benchmarks.systems.base import PROCESSES, ROOT, System
from benchmarks.systems.ours import IO_THREADS, runworkers

Figures = dict[str, Any]
Plan = list[tuple[float, str, int, int]]  # when, which job, the first number, how many

CALLERS = 16
CALLS, CALLS_OF_MANY = 1_000, 1_600
WARM = 30
PICKUPS, PICKUP_EVERY = 300, 0.02
STREAM_SECONDS, STREAM_EVERY, STREAM_MOST = 5.0, 0.01, 2_000.0
IO_JOBS, IO_SECONDS = 3_000, 0.1
SCALING, SCALING_EACH = (1, 3, 6), 40
BURSTS, BURST_JOBS, BURST_EVERY = 28, 40, 0.5
IDLE_SECONDS = 20.0
WAIT_SECONDS = 60
API_CLIENTS = 8  # as many as the web processes have threads
API_CALLS = {"post": 3_000, "post_bulk": 160, "get": 4_000}
JOBS, JOB = "/api/v1/jobs/", {"type": "noop", "payload": {}}


def enqueue(stage: Stage, rate: float) -> Figures:
    """One caller, one job at a time; then 16 callers at once."""
    with stage.client() as client:
        client.tell("one", job="noop", arguments=[], count=50)  # connections, caches
        one = client.tell("one", job="noop", arguments=[], count=CALLS)
        many = client.tell("many", job="noop", arguments=[], count=CALLS_OF_MANY, callers=CALLERS)
    return {"one": CALLS / one["seconds"], "many": CALLS_OF_MANY / many["seconds"]}


def drain(stage: Stage, rate: float) -> Figures:
    """No-op jobs, enqueued before the workers start."""
    return _drain(stage, "noop", "drain")


def results(stage: Stage, rate: float) -> Figures:
    """As `drain`, and each job returns a small result that is stored."""
    return _drain(stage, "result", "results")


def _drain(stage: Stage, job: str, name: str) -> Figures:
    enqueued, drained = rates(stage, job, [], stage.system.jobs)
    return {name: drained, **({"bulk": enqueued} if stage.system.bulk else {})}


def rates(
    stage: Stage, job: str, arguments: list[Any], count: int, batch: int = BATCH
) -> tuple[float, float]:
    """Return how many jobs a second were enqueued, then how many were run."""
    with stage.client() as client:
        seconds = fill(client, stage.system, job, arguments, count, batch)
    with stage.tree() as tree:
        return count / seconds, count / stage.span(tree, count)


def fill(
    client: Client, system: System, job: str, arguments: list[Any], count: int, batch: int = BATCH
) -> float:
    """Enqueue by the quickest way it has; return the seconds that took."""
    order: Figures = {"job": job, "arguments": arguments, "count": count}
    if system.bulk:
        batch = min(batch, count)
        assert count % batch == 0, "whole batches only"
        return float(client.tell("bulk", **order, batch=batch)["seconds"])
    return float(client.tell("one", **order)["seconds"])


def pickup(stage: Stage, rate: float) -> Figures:
    """From the call of enqueue to the start in the handler: idle, then at half the drain rate."""
    idle, moment = Plan(), 0.0
    for n in range(PICKUPS):
        moment += random.uniform(0.5, 1.5) * PICKUP_EVERY  # noqa: S311 - no rhythm to fall into
        idle.append((moment, "stamp", 2 * WARM + n, 1))
    stream = _stream(min(rate / 2, STREAM_MOST), 2 * WARM + PICKUPS)
    last = stream[-1]
    stamps = stage.stamps(last[2] + last[3])
    with stage.client() as client, stage.tree(gated=False) as tree:
        _warm_up(client, tree, stamps)
        waits = _waits(client, tree, stamps, idle)
        half = _waits(client, tree, stamps, stream)
    return {
        **_percentiles(waits.before),
        **_percentiles(waits.after, "_after"),
        "half_rate": sum(count for _, _, _, count in stream) / STREAM_SECONDS,
        **_percentiles(half.before, prefix="half_"),
    }


def _stream(rate: float, first: int) -> Plan:
    """A steady stream, in steps of 10 ms."""
    plan, sent = Plan(), 0
    for step in range(int(STREAM_SECONDS / STREAM_EVERY)):
        due = int((step + 1) * STREAM_EVERY * rate) - sent
        if due:
            plan.append((step * STREAM_EVERY, "stamp", first + sent, due))
        sent += due
    if not plan:
        raise Failed(f"half of {2 * rate:.1f} jobs a second is no stream")
    return plan


@dataclass(frozen=True)
class Waits:
    """Milliseconds to each job's start."""

    before: list[float]  # from just before the call of enqueue
    after: list[float]  # from when it returned; below 0 where a job starts before that


def _waits(client: Client, tree: Tree, stamps: "memoryview[int]", plan: Plan) -> Waits:
    numbers = [n for _, _, first, count in plan for n in range(first, first + count)]
    answer = client.tell("paced", plan=plan)
    until(lambda: tree.alive() and all(stamps[n] for n in numbers), WAIT_SECONDS, "all jobs start")
    return Waits(
        [(stamps[n] - at) / 1e6 for n, at in zip(numbers, answer["before"], strict=True)],
        [(stamps[n] - at) / 1e6 for n, at in zip(numbers, answer["after"], strict=True)],
    )


def _warm_up(client: Client, tree: Tree, stamps: "memoryview[int]") -> None:
    """Run some jobs, twice: the first of the processes may have taken all of the first ones."""
    for first in (0, WARM):
        _waits(client, tree, stamps, [(0.0, "stamp", first + n, 1) for n in range(WARM)])
        time.sleep(1.5)


def _percentiles(waits: Iterable[float], suffix: str = "", prefix: str = "") -> Figures:
    ordered = sorted(waits)
    return {
        f"{prefix}p50{suffix}": statistics.median(ordered),
        f"{prefix}p99{suffix}": ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)],
        f"{prefix}most{suffix}": ordered[-1],
    }


def waiting(stage: Stage, rate: float) -> Figures:
    """Jobs that wait 0.1 s, 3 processes x 50 at once."""
    with stage.client() as client:
        fill(client, stage.system, "sleep", [IO_SECONDS], IO_JOBS)
    with stage.tree() as tree:
        return {"io": IO_JOBS / stage.span(tree, IO_JOBS)}


def scaling(stage: Stage, rate: float) -> Figures:
    """Jobs that wait 0.1 s, one at a time in 1, 3 and 6 processes."""
    figures = {}
    for processes in SCALING:
        jobs = SCALING_EACH * processes
        with stage.client() as client:
            fill(client, stage.system, "sleep", [IO_SECONDS], jobs)
        with stage.tree([runworkers(processes)]) as tree:
            figures[f"processes_{processes}"] = jobs / stage.span(tree, jobs, processes)
        stage.clear()
    return figures


def mixed(stage: Stage, rate: float) -> Figures:
    """Bursts of quick jobs, one in a hundred takes 2 s: how long the quick ones wait."""
    first = 2 * WARM
    numbers = range(first, first + BURSTS * BURST_JOBS)
    plan = [
        (burst * BURST_EVERY, "mixed", first + burst * BURST_JOBS, BURST_JOBS)
        for burst in range(BURSTS)
    ]
    stamps = stage.stamps(numbers.stop)
    with stage.client() as client, stage.tree(gated=False) as tree:
        _warm_up(client, tree, stamps)
        waits = _waits(client, tree, stamps, plan)
    quick = [wait for n, wait in zip(numbers, waits.before, strict=True) if not is_slow(n)]
    return {**_percentiles(quick), "quick": len(quick), "slow": len(numbers) - len(quick)}


def idle(stage: Stage, rate: float) -> Figures:
    """Three worker processes with nothing to do, after some jobs."""
    stamps = stage.stamps(2 * WARM)
    with stage.tree(gated=False) as tree:
        with stage.client() as client:
            _warm_up(client, tree, stamps)
        time.sleep(2)
        seconds = IDLE_SECONDS if stage.system.name in ("ours", "celery") else IDLE_SECONDS / 2
        present = {process.pid for process in tree.family()}
        with stage.watched() as commands:
            before, started = _cpu_seconds(tree), time.monotonic()
            time.sleep(seconds)
            cpu = (_cpu_seconds(tree) - before) / (time.monotonic() - started)
        tree.alive()
        processes = tree.family()
        if {process.pid for process in processes} != present:
            raise Failed("its processes were not the same all the time")
        return {
            "cpu": 100 * cpu,
            "memory": sum(pss_bytes(process.pid) for process in processes) / 2**20,
            "processes": len(processes),
            "seconds": seconds,
            "commands": dict(commands),
            "writes": _writes(commands),
        }


def _cpu_seconds(tree: Tree) -> float:
    seconds = 0.0
    for process in tree.family():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds


def pss_bytes(pid: int) -> int:
    """What this process adds to the memory in use: shared pages are divided by their sharers."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0


def _writes(commands: Counter[str]) -> dict[str, int]:
    written = ("insert ", "update ", "remove ", "findAndModify ")
    return {name: count for name, count in commands.items() if name.startswith(written)}


def api(stage: Stage, rate: float) -> Figures:
    """Requests to the API by 8 clients: submit one, submit 100, show one."""
    if not stage.system.web(0):
        return _bare(stage)
    token, figures = _token(stage), Figures()
    with stage.web() as port:
        one = load.request("POST", JOBS, token, JOB)
        many = load.request("POST", f"{JOBS}bulk/", token, {"jobs": [JOB] * API_BULK})
        made = load.load(port, [one] * WARM, API_CLIENTS)
        paths = [f"{JOBS}{json.loads(body)['id']}/" for body in made.bodies]
        shown = [load.request("GET", path, token) for path in paths]
        load.load(port, [many, *shown], API_CLIENTS)
        for name, count in API_CALLS.items():
            asked = {"post": [one], "post_bulk": [many], "get": shown}[name]
            answers = load.load(port, itertools.islice(itertools.cycle(asked), count), API_CLIENTS)
            figures |= _api_figures(name, count, answers.seconds, answers.milliseconds)
            figures[f"{name}_client_cpu"] = 100 * answers.cpu
    return figures


def _token(stage: Stage) -> str:
    if not stage.system.own:
        return "none"
    command = [sys.executable, "manage.py", "apitoken", "bench", "--role", "operator"]
    made = subprocess.run(
        command, cwd=ROOT, env=stage.env, capture_output=True, text=True, timeout=60, check=False
    )
    if made.returncode:
        raise Failed(f"no token: {made.stderr[-300:]}")
    return made.stdout.split()[-1]


def _bare(stage: Stage) -> Figures:
    """The same by its client: two processes of four threads, as the web page has."""
    figures = Figures()
    with stage.client() as first, stage.client() as second, ThreadPoolExecutor(2) as pool:
        for name, count in API_CALLS.items():
            order = {"call": name, "count": count // 2, "callers": API_CLIENTS // 2}
            answers = list(pool.map(lambda each, o=order: each.tell("timed", **o), (first, second)))
            times = [each for answer in answers for each in answer["milliseconds"]]
            seconds = max(answer["seconds"] for answer in answers)
            figures |= _api_figures(name, len(times), seconds, times)
    return figures


def _api_figures(name: str, count: int, seconds: float, milliseconds: list[float]) -> Figures:
    return {name: count / seconds, **_percentiles(milliseconds, prefix=f"{name}_")}


@dataclass(frozen=True)
class Workload:
    """`rounds`: how many at most. `units` says what its figures are."""

    name: str
    title: str
    measure: Callable[[Stage, float], Figures]
    rounds: int = 5
    mode: str = "quick"  # which of a system's worker commands


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload("enqueue", "Enqueue one at a time, and by 16 callers", enqueue),
        Workload("drain", "Drain of no-op jobs, after a bulk enqueue", drain),
        Workload("results", "Drain with small results", results, mode="results"),
        Workload("pickup", "Pickup latency, idle and under half load", pickup, rounds=2),
        Workload("io", f"Jobs that wait, {PROCESSES} x {IO_THREADS}", waiting, 2, "io"),
        Workload("scaling", "Jobs that wait, 1 to 6 processes", scaling, rounds=2),
        Workload("mixed", "Mixed durations", mixed, rounds=1),
        Workload("api", "The API: requests a second", api, rounds=3, mode="api"),
        Workload("idle", "Idle: CPU and memory", idle, rounds=1),
    )
}
