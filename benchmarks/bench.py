"""`make bench`: this project and its peers, one workload after another, in one run.

Every measurement has its own fresh Redis, its own processes and an empty database. Round 1 measures
every system, then round 2 does in reverse, so that a slow minute of the machine hits all of them. A
whole run is written to docs/performance.md; one of chosen workloads or systems is only printed.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pymongo
import redis

from benchmarks import report
from benchmarks.processes import Failed, redis_server
from benchmarks.stage import database_of, stage, variables, with_database
from benchmarks.systems import SYSTEMS
from benchmarks.systems.base import ROOT, NotInstalled, System
from benchmarks.systems.ours import OURS, commit
from benchmarks.workloads import WORKLOADS, Figures, Workload
from taskqueue import embedded

RESULTS = ROOT / ".bench" / "results.json"
PART = ROOT / ".bench" / "part.json"
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Cell = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    for number in STOPS:
        signal.signal(number, _stop)
    whole = not options.only_given and not options.systems_given
    output = options.output or (RESULTS if whole else PART)
    with tempfile.TemporaryDirectory(prefix="taskqueue-bench-") as folder, servers(folder) as facts:
        run = Run(facts.pop("mongodb"), output, facts, options.rounds)
        run.measure([SYSTEMS[name] for name in options.systems], options.only)
    report.show(run.results)
    if whole and not options.output:
        report.write()


def _stop(number: int, _: object) -> None:
    """Leave through every `finally`, which a second signal must not cut short."""
    for each in STOPS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=_rounds, default=5, help="rounds at most (5)")
    parser.add_argument("--only", type=_some(list(WORKLOADS)), default="", help="workloads")
    parser.add_argument("--systems", type=_some(list(SYSTEMS)), default="", help="systems")
    parser.add_argument("--output", type=Path, help="another file for the results")
    options = parser.parse_args(arguments)
    options.only_given = options.only != list(WORKLOADS)
    options.systems_given = options.systems != list(SYSTEMS)
    return options


def _rounds(text: str) -> int:
    if text and (not text.isdigit() or int(text) < 1):
        raise argparse.ArgumentTypeError(f"{text!r}: use a number from 1.")
    return int(text or 5)


def _some(known: list[str]) -> Any:
    def chosen(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: use {', '.join(known)}.")
        return [name for name in known if name in (names or known)]

    return chosen


def mongod(folder: Path) -> Any:
    """A replica set of one, with MongoDB's own cache size, as Redis runs with its own defaults."""
    options = embedded.OPTIONS["mongod"]
    place = options.index("--wiredTigerCacheSizeGB")
    embedded.OPTIONS["mongod"] = options[:place] + options[place + 2 :]
    return embedded.running(folder, redis=False)


@contextlib.contextmanager
def servers(folder: str) -> Any:
    """Run MongoDB, with every collection and index of production; yields the facts."""
    with mongod(Path(folder)) as urls:
        uri = urls["MONGODB_URI"]
        migrate(with_database(uri, database_of(OURS)), Path(folder))
        with pymongo.MongoClient[Any](uri) as client, redis_server(Path(folder)) as url:
            yield {
                "mongodb": uri,
                "machine": machine(),
                "commit": commit(),
                "mongod": client.server_info()["version"],
                "redis": redis.Redis.from_url(url).info()["redis_version"],
            }


def migrate(uri: str, folder: Path) -> None:
    """Make the collections and indexes that production has."""
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    env = {**os.environ, **variables(uri, folder), "REDIS_URL": "redis://127.0.0.1:1/0"}
    subprocess.run(command, cwd=ROOT, env=env, check=True, timeout=120)


@contextlib.contextmanager
def site(name: str) -> Iterator[Path]:
    """Be a process of this project that can show pages, on its own stores; yields a folder."""
    import django

    with (
        tempfile.TemporaryDirectory(prefix=f"taskqueue-{name}-") as folder,
        embedded.running(Path(folder)) as urls,
    ):
        uri = with_database(urls["MONGODB_URI"], name)
        os.environ |= {**urls, **variables(uri, Path(folder)), "BENCH_FOLDER": folder}
        migrate(uri, Path(folder))
        collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
        subprocess.run(collect, cwd=ROOT, check=True)
        django.setup()
        yield Path(folder)


def machine() -> str:
    model = "an unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, {platform.system()}"


class Run:
    """One run and its results, which are saved after every measurement."""

    def __init__(self, mongodb: str, output: Path, facts: dict[str, Any], rounds: int) -> None:
        self.mongodb = mongodb
        self.output = output
        self.rounds = rounds
        self.cells: list[Cell] = []
        self.results: dict[str, Any] = {
            "facts": {**facts, "started": time.strftime("%Y-%m-%d %H:%M", time.gmtime())},
            "rounds": {name: min(rounds, known.rounds) for name, known in WORKLOADS.items()},
            "systems": {},
            "cells": self.cells,
        }

    def measure(self, systems: list[System], names: list[str]) -> None:
        started = time.monotonic()
        present = self.introduce(systems)
        for number in range(1, self.rounds + 1):
            for name in names:
                if number <= WORKLOADS[name].rounds:
                    # Who is measured after a pause, or after whom, changes with the rounds.
                    for system in present[:: 1 if number % 2 else -1]:
                        self.cell(number, WORKLOADS[name], system)
        self.results["facts"]["minutes"] = round((time.monotonic() - started) / 60, 1)
        self.save()

    def introduce(self, systems: list[System]) -> list[System]:
        """Note what each of them is; return those that are installed."""
        present = []
        for system in systems:
            known = {
                "label": system.label,
                "settings": system.settings,
                "lacks": system.lacks,
                "jobs": system.jobs,
                "bulk": system.bulk,
                "unfit": {"api": "it has no API over HTTP", **system.unfit},
                "works": sorted(system.works),
                "version": "",
                "missing": "",
            }
            try:
                known["version"] = system.version()
                present.append(system)
            except NotInstalled as error:
                known["missing"] = str(error)
                print(f"{system.name:16} not installed: {error}", flush=True)
            self.results["systems"][system.name] = known
        return present

    def cell(self, number: int, workload: Workload, system: System) -> None:
        """Measure once, whatever comes of it."""
        if workload.name not in system.works:
            return
        started = time.monotonic()
        figures, error = Figures(), ""
        try:
            rate = self.drain_rate(system) if workload.name == "pickup" else 0.0
            with stage(system, workload.mode, self.mongodb) as place:
                figures = workload.measure(place, rate)
        except Exception as failure:  # the others are still worth having
            error = f"{type(failure).__name__}: {failure}"[:500]
        took = time.monotonic() - started
        self.cells.append(
            {
                "round": number,
                "workload": workload.name,
                "system": system.name,
                "figures": figures,
                "error": error,
                "took": round(took, 1),
            }
        )
        self.save()
        shown = error or ", ".join(
            f"{name} {report.short(value)}" for name, value in figures.items()
        )
        print(f"{number} {workload.name:8} {system.name:16} {shown}  ({took:.0f} s)", flush=True)

    def drain_rate(self, system: System) -> float:
        """The median of this run so far; measured now where there is none."""
        known = self.known_rates(system)
        if not known:
            self.cell(0, WORKLOADS["drain"], system)
            known = self.known_rates(system)
        if not known:
            raise Failed("its drain rate is unknown, so half of it is")
        return statistics.median(known)

    def known_rates(self, system: System) -> list[float]:
        return [
            cell["figures"]["drain"]
            for cell in self.cells
            if cell["system"] == system.name and "drain" in cell["figures"]
        ]

    def save(self) -> None:
        self.output.parent.mkdir(parents=True, exist_ok=True)
        draft = self.output.with_suffix(".new")
        draft.write_text(json.dumps(self.results, indent=1) + "\n")
        draft.replace(self.output)


if __name__ == "__main__":
    main()
