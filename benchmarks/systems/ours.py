"""This project, and the bare loop that is its limit."""

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version

from benchmarks.systems.base import PROCESSES, ROOT, System
from taskqueue.run import WEB

CLIENT = [sys.executable, "-m", "benchmarks.client"]
IO_THREADS = 50


def runworkers(processes: int = PROCESSES, concurrency: int = 1) -> list[str]:
    options = ["--processes", str(processes), "--concurrency", str(concurrency)]
    return [sys.executable, "manage.py", "runworkers", *options]


@dataclass(frozen=True)
class Ours(System):
    def workers(self, mode: str) -> list[list[str]]:
        return [runworkers(concurrency=IO_THREADS if mode == "io" else 1)]

    def client(self) -> list[str]:
        return [*CLIENT, "benchmarks.ours.client"]

    def web(self, port: int) -> list[str]:
        return [*WEB, "--bind", f"127.0.0.1:{port}"]

    def environment(self, mode: str) -> dict[str, str]:
        # As by default they are counted for each request; high, since this is one token.
        kinds = ("SUBMIT", "READ", "WRITE")
        return {f"RATE_LIMIT_{kind}": str(10**9) for kind in kinds} if mode == "api" else {}

    def version(self) -> str:
        return f"{commit()}, Python {sys.version.split()[0]}, {drivers()}"


@dataclass(frozen=True)
class FixedPrefetch(Ours):
    def workers(self, mode: str) -> list[list[str]]:
        return [[sys.executable, "-m", "benchmarks.ours.fixed_prefetch"]]


@dataclass(frozen=True)
class Limit(System):
    def workers(self, mode: str) -> list[list[str]]:
        return [[sys.executable, "-m", "benchmarks.limit.worker"]]

    def client(self) -> list[str]:
        return [*CLIENT, "benchmarks.limit.client"]

    def version(self) -> str:
        return drivers()


def drivers() -> str:
    names = (("PyMongo", "pymongo"), ("redis-py", "redis"), ("hiredis", "hiredis"))
    return ", ".join(f"{name} {version(package)}" for name, package in names)


def commit() -> str:
    """Which state of this project; "+": with changes that are not committed."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return f"commit {found}" if found else "an unknown commit"


OURS = Ours(
    name="ours",
    label="**This project**",
    settings="`runworkers --processes 3`, `--concurrency 50` for jobs that wait; MongoDB with "
    "majority and journal, every index",
    lacks="",
    works=frozenset(
        {"enqueue", "drain", "results", "pickup", "io", "scaling", "mixed", "idle", "api"}
    ),
    bulk="`enqueue_many` of 1,000",
    needs=frozenset({"mongodb"}),
    own=True,
)
FIXED = FixedPrefetch(
    name="ours-fixed",
    label="This project, prefetch fixed at 200",
    settings="as above, but it always fetches 200 and gives nothing back: what the adaptive "
    "prefetch is for",
    lacks="give-back",
    works=frozenset({"mixed"}),
    unfit={"*": "only there for mixed durations"},
    bulk="`enqueue_many`",
    needs=frozenset({"mongodb"}),
    own=True,
)
LIMIT = Limit(
    name="limit",
    label="The limit",
    settings="a bare PyMongo + redis-py loop in three forked processes that does the same writes "
    "with the same indexes: `RPOP` 200, `update_many` to claim, `find`, `update_many` with one "
    "pipeline to record on a second thread; one job alone is claimed by `find_one_and_update`. "
    "Beside the API: bare `insert_one`, `insert_many` and `find_one`, without HTTP, in "
    "two processes of four threads",
    lacks="retries, timeouts, give-back, repair, stopping, what ran in a dead worker",
    works=frozenset({"enqueue", "drain", "results", "pickup", "idle", "api"}),
    unfit={
        "io": "a bare loop runs one job at a time",
        "mixed": "a bare loop has a fixed prefetch",
        "scaling": "measured here only",
    },
    bulk="`insert_many` of 1,000",
    needs=frozenset({"mongodb"}),
    own=True,
)
