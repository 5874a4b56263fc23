"""The benchmark runs: this project and its limit, for real, on a few jobs."""

import os
from dataclasses import replace
from pathlib import Path

from benchmarks import bench, report
from benchmarks.stage import database_of, with_database
from benchmarks.systems.ours import LIMIT, OURS

JOBS = 2_000  # the limit takes 200 at once, and all of its processes are waited for


def test_a_small_drain_is_measured(tmp_path: Path) -> None:
    uri = os.environ["MONGODB_URI"]
    bench.migrate(with_database(uri, database_of(OURS)), tmp_path)
    facts = {"machine": "", "commit": "", "mongod": "", "redis": ""}
    run = bench.Run(uri, tmp_path / "results.json", facts, rounds=1)
    run.measure([replace(OURS, jobs=JOBS), replace(LIMIT, jobs=JOBS)], ["drain"])

    ours, limit = run.cells
    assert (ours["error"], limit["error"]) == ("", "")
    assert ours["figures"].keys() == limit["figures"].keys() == {"drain", "bulk"}
    assert min(ours["figures"].values()) > 0
    written = report.read(tmp_path / "results.json")
    assert written == run.results
    assert "Drain of no-ops: the limit" in report.render(run.results, None)
