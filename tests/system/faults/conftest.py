"""Rows of the fault matrix: which run when, with which seed, and where their figures go.

`make test` runs the rows marked quick, once. `make chaos` (CHAOS=1) runs all, with three seeds.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections

from tests.system.faults.world import World, use_mongodb

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / ".chaos" / "rows.jsonl"
CHAOS = bool(os.environ.get("CHAOS"))
SOAK = bool(os.environ.get("SOAK_JOBS"))
SEEDS = int(os.environ.get("CHAOS_SEEDS") or 3) if CHAOS else 1
ROW_SECONDS = 600


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in filter(_is_row, items):
        item.add_marker(pytest.mark.timeout(ROW_SECONDS))
    slow = [item for item in items if _is_row(item) and not (CHAOS or _row(item)["quick"])]
    if not SOAK:
        slow += [item for item in items if item.get_closest_marker("soak")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def _is_row(item: pytest.Item) -> bool:
    return item.get_closest_marker("row") is not None


def _row(item: Any) -> dict[str, Any]:
    mark = item.get_closest_marker("row")
    names = ("number", "fault", "injected", "invariants")
    return {**dict(zip(names, mark.args, strict=True)), "quick": mark.kwargs.get("quick", False)}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" in metafunc.fixturenames:
        metafunc.parametrize("nth_seed", range(SEEDS), ids=lambda n: f"seed{n}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Any:
    report = yield
    if call.when == "call":
        item.stash_report = report
    return report


@pytest.fixture
def world(tmp_path: Path, nth_seed: int, request: pytest.FixtureRequest) -> Iterator[World]:
    """This row's own system, not started yet. CHAOS_SEED gives the first seed again."""
    seed = int(os.environ["CHAOS_SEED"]) + nth_seed
    print(f"seed {seed}: CHAOS_SEED={seed} makes it the first")
    before = (settings.MONGODB_URI, settings.REDIS_URL, settings.REDIS_PREFIX)
    database = {name: connections["default"].settings_dict[name] for name in ("HOST", "NAME")}
    lost = settings.WORKER_LOST_SECONDS
    began = time.monotonic()
    world = World(tmp_path, seed)
    yield world
    use_mongodb(**database)  # first: a client that is closed wants to tell its server
    world.close()
    settings.MONGODB_URI, settings.REDIS_URL, settings.REDIS_PREFIX = before
    settings.WORKER_LOST_SECONDS = lost
    report = getattr(request.node, "stash_report", None)
    if report is not None and report.failed:
        for tree in world.trees:
            print(tree.log[-6000:])
    if CHAOS and _is_row(request.node):
        _write(request.node, world, report, time.monotonic() - began)


def _write(node: Any, world: World, report: Any, seconds: float) -> None:
    line = {
        **_row(node),
        "test": node.originalname,
        "control": "control" in node.keywords,
        "seed": world.seed,
        "result": report.outcome if report is not None else "error",
        "reason": str(report.longrepr)[-300:] if report is not None and not report.passed else "",
        "seconds": round(seconds, 1),
        "figures": world.figures,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    file = os.open(RESULTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)
