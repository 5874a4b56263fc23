"""The other queues. Their settings are those that their own documentation advises for speed."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.systems.base import PEERS, PROCESSES, ROOT, THROUGHPUT, NotInstalled, System

APPS = "benchmarks.peers"
SCRIPTS = ROOT / "benchmarks" / "peers"
IO = frozenset({"io"})
RESULTS = frozenset({"results"})
LOST, DEAD = "durability", "what ran in a dead worker"
FOR_GOOD = "results for good"


@dataclass(frozen=True)
class PythonPeer(System):
    """One that a Python environment of its own holds. `{bin}` in a command is its folder."""

    app: str = ""
    packages: tuple[str, ...] = ()
    quick: tuple[tuple[str, ...], ...] = ()
    waiting: tuple[tuple[str, ...], ...] = ()  # for jobs that wait; empty: as `quick`
    place: str = "venv"
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def bin(self) -> str:
        return str(PEERS / self.place / "bin")

    def workers(self, mode: str) -> list[list[str]]:
        commands = self.waiting if mode == "io" and self.waiting else self.quick
        return [[part.replace("{bin}", self.bin) for part in command] for command in commands]

    def client(self) -> list[str]:
        return [f"{self.bin}/python", "-m", "benchmarks.client", f"{APPS}.{self.app}"]

    def environment(self, mode: str) -> dict[str, str]:
        keeps = {"BENCH_RESULTS": "1"} if mode == "results" else {}
        return {**keeps, **self.variables}

    def version(self) -> str:
        code = (
            "import sys; from importlib.metadata import version;"
            "print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))"
        )
        try:
            command = [f"{self.bin}/python", "-c", code, *self.packages]
            found = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            raise NotInstalled("`python -m benchmarks.install` says why") from None
        return found.stdout.strip()


@dataclass(frozen=True)
class FastApi(PythonPeer):
    def web(self, port: int) -> list[str]:
        command = f"{self.bin}/python -m uvicorn benchmarks.peers.fastapi_app:app --workers 2"
        return [*command.split(), "--no-access-log", "--port", str(port)]


@dataclass(frozen=True)
class BullMq(System):
    concurrency: int = 50

    def workers(self, mode: str) -> list[list[str]]:
        return [["node", str(SCRIPTS / "bullmq_worker.cjs")]] * PROCESSES

    def client(self) -> list[str]:
        return ["node", str(SCRIPTS / "bullmq_client.cjs")]

    def environment(self, mode: str) -> dict[str, str]:
        keeps = {"BENCH_RESULTS": "1"} if mode == "results" else {}
        modules = {"NODE_PATH": str(PEERS / "node_modules")}
        return {**keeps, **modules, "BENCH_CONCURRENCY": str(self.concurrency)}

    def version(self) -> str:
        manifests = [
            PEERS / "node_modules" / name / "package.json" for name in ("bullmq", "ioredis")
        ]
        if not shutil.which("node") or not all(path.exists() for path in manifests):
            raise NotInstalled("it needs `apt-get install nodejs npm`, then `make bench` again")
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
        known = [json.loads(path.read_text()) for path in manifests]
        packages = ", ".join(f"{package['name']} {package['version']}" for package in known)
        return f"{packages}, Node {node.stdout.strip().removeprefix('v')}"


@dataclass(frozen=True)
class Sidekiq(System):
    def workers(self, mode: str) -> list[list[str]]:
        threads = "50" if mode == "io" else "10"
        app = str(SCRIPTS / "sidekiq_app.rb")
        options = ["-c", threads, "-q", "default", "-e", "production"]
        return [["sidekiq", "-r", app, *options]] * PROCESSES

    def client(self) -> list[str]:
        return ["ruby", str(SCRIPTS / "sidekiq_client.rb")]

    def version(self) -> str:
        code = "require 'sidekiq'; require 'redis'; puts \"sidekiq #{Sidekiq::VERSION}, "
        code += 'redis-rb #{Redis::VERSION}, Ruby #{RUBY_VERSION}"'
        if not shutil.which("sidekiq"):
            raise NotInstalled("it needs `apt-get install ruby-sidekiq`")
        found = subprocess.run(["ruby", "-e", code], capture_output=True, text=True)
        if found.returncode:
            raise NotInstalled(f"Ruby says: {found.stderr.strip()[:200]}")
        return found.stdout.strip()


def _celery(name: str, *more: str) -> tuple[str, ...]:
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR")
    return ("{bin}/celery", "-A", f"{APPS}.celery_app", "worker", "-n", f"{name}@%h", *quiet, *more)


CELERY_QUICK = (_celery("quick", "--pool", "prefork", "--concurrency", "3"),)
CELERY_WAITING = tuple(
    _celery(f"io{n}", "--pool", "threads", "--concurrency", "50") for n in range(PROCESSES)
)
CELERY_SETTINGS = (
    "`--pool prefork --concurrency 3 --without-gossip --without-mingle --without-heartbeat`, "
    "`worker_prefetch_multiplier` 128, `broker_pool_limit` 16"
)
CELERY = PythonPeer(
    name="celery",
    label="Celery, no results",
    settings=f"{CELERY_SETTINGS}, `task_ignore_result`; for jobs that wait, three workers with "
    "`--pool threads --concurrency 50`",
    lacks=f"{LOST}, states, results, {DEAD}",
    jobs=4_000,
    works=THROUGHPUT | IO,
    unfit={"results": "see the rows with a backend"},
    app="celery_app",
    packages=("celery", "kombu", "redis"),
    quick=CELERY_QUICK,
    waiting=CELERY_WAITING,
)
CELERY_REDIS = PythonPeer(
    name="celery-redis",
    label="Celery, results in Redis",
    settings=f"{CELERY_SETTINGS}, `redis://` as result backend",
    lacks=f"{LOST}, {FOR_GOOD}, {DEAD}",
    jobs=3_000,
    works=RESULTS,
    unfit={"*": "as Celery without results"},
    app="celery_app",
    packages=("celery", "kombu", "redis"),
    variables={"BENCH_BACKEND": "redis"},
    quick=CELERY_QUICK,
)
CELERY_MONGODB = PythonPeer(
    name="celery-mongodb",
    label="Celery, results in MongoDB",
    settings=f"{CELERY_SETTINGS}, `mongodb://` with majority and journal as result backend: the "
    "nearest to what is kept here",
    lacks=f"durability of what waits, {DEAD}",
    jobs=2_000,
    works=RESULTS,
    unfit={"*": "as Celery without results"},
    needs=frozenset({"mongodb"}),
    app="celery_app",
    packages=("celery", "pymongo"),
    variables={"BENCH_BACKEND": "mongodb"},
    quick=CELERY_QUICK,
)
RQ = PythonPeer(
    name="rq",
    label="RQ",
    settings="three workers that have imported their jobs before they fork; `result_ttl` 0 where "
    "no result is wanted",
    lacks=f"{LOST}, {FOR_GOOD}",
    jobs=500,
    works=THROUGHPUT | RESULTS,
    unfit={"io": "a worker runs one job at a time, in a process forked for it"},
    bulk="`enqueue_many` of 500",
    app="rq_app",
    packages=("rq", "redis"),
    quick=(("{bin}/python", "-m", f"{APPS}.rq_worker", "fork"),) * PROCESSES,
)
RQ_SIMPLE = PythonPeer(
    name="rq-simple",
    label="RQ, SimpleWorker",
    settings="as RQ, but jobs run in the worker's own process",
    lacks=f"{LOST}, {FOR_GOOD}, a worker that outlives its job's crash",
    jobs=2_000,
    works=frozenset({"drain"}),
    unfit={"*": "as RQ"},
    bulk="`enqueue_many` of 1,000",
    app="rq_app",
    packages=("rq", "redis"),
    quick=(("{bin}/python", "-m", f"{APPS}.rq_worker", "simple"),) * PROCESSES,
)


def _dramatiq(threads: int) -> tuple[tuple[str, ...], ...]:
    options = ("--processes", str(PROCESSES), "--threads", str(threads))
    return (("{bin}/dramatiq", f"{APPS}.dramatiq_app", *options),)


DRAMATIQ = PythonPeer(
    name="dramatiq",
    label="Dramatiq",
    settings="`--processes 3 --threads 8`, its default; `--threads 50` for jobs that wait; results "
    "by its own middleware where they are wanted",
    lacks=f"{LOST}, states, {FOR_GOOD}",
    jobs=15_000,
    works=THROUGHPUT | RESULTS | IO,
    app="dramatiq_app",
    packages=("dramatiq", "redis"),
    quick=_dramatiq(8),
    waiting=_dramatiq(50),
)


def _huey(kind: str, count: int) -> tuple[str, ...]:
    options = ("-k", kind, "-w", str(count), "-n", "-q")
    return ("{bin}/python", "-m", "huey.bin.huey_consumer", f"{APPS}.huey_app.huey", *options)


HUEY = PythonPeer(
    name="huey",
    label="Huey",
    settings="`-k process -w 3 -n -q`; for jobs that wait, three consumers with `-k thread -w 50`",
    lacks=f"{LOST}, states, {FOR_GOOD}, {DEAD}",
    jobs=15_000,
    works=THROUGHPUT | RESULTS | IO,
    app="huey_app",
    packages=("huey", "redis"),
    quick=(_huey("process", PROCESSES),),
    waiting=(_huey("thread", 50),) * PROCESSES,
)


def _taskiq(tasks: int) -> tuple[tuple[str, ...], ...]:
    options = ("--workers", str(PROCESSES), "--max-async-tasks", str(tasks))
    quiet = ("--log-level", "WARNING")
    return (("{bin}/taskiq", "worker", f"{APPS}.taskiq_app:broker", *options, *quiet),)


TASKIQ = PythonPeer(
    name="taskiq",
    label="TaskIQ",
    settings="`ListQueueBroker` with `socket_timeout` none (an idle worker would end after "
    "5 s), coroutines on uvloop, `--workers 3 --max-async-tasks 100`; 50 for "
    "jobs that wait",
    lacks=f"{LOST}, states, {FOR_GOOD}, {DEAD}",
    jobs=6_000,
    works=THROUGHPUT | RESULTS | IO,
    app="taskiq_app",
    packages=("taskiq", "taskiq-redis", "redis", "uvloop"),
    quick=_taskiq(100),
    waiting=_taskiq(50),
)
ARQ = PythonPeer(
    name="arq",
    label="arq",
    settings="three workers, coroutines, `max_jobs` 50, `poll_delay` 0.02 s instead of 0.5 s, "
    "`keep_result` 0 where no result is wanted",
    lacks=f"{LOST}, states, {FOR_GOOD}",
    jobs=3_000,
    works=THROUGHPUT | RESULTS | IO,
    app="arq_app",
    packages=("arq", "redis"),
    quick=(("{bin}/arq", f"{APPS}.arq_app.Worker"),) * PROCESSES,
    place="arq",
)
BULLMQ = BullMq(
    name="bullmq",
    label="BullMQ, concurrency 50",
    settings="three Node processes with one worker of concurrency 50 each, `removeOnComplete` "
    "where no result is wanted",
    lacks=f"{LOST}, {FOR_GOOD}",
    works=THROUGHPUT | RESULTS | IO,
    bulk="`addBulk` of 1,000",
)
BULLMQ_ONE = BullMq(
    name="bullmq-1",
    label="BullMQ, concurrency 1",
    settings="as above with a concurrency of 1, its default",
    lacks=f"{LOST}, {FOR_GOOD}",
    jobs=10_000,
    works=frozenset({"drain"}),
    unfit={"*": "as with 50"},
    bulk="`addBulk` of 1,000",
    concurrency=1,
)
SIDEKIQ = Sidekiq(
    name="sidekiq",
    label="Sidekiq",
    settings="three processes of 10 threads, its default; 50 for jobs that wait",
    lacks=f"{LOST}, states, results, {DEAD}",
    works=THROUGHPUT | IO,
    unfit={"results": "it keeps none"},
    bulk="`push_bulk` of 1,000",
)
FASTAPI = FastApi(
    name="fastapi",
    label="FastAPI + Redis",
    settings="a minimal endpoint: pydantic, `HSET` and `LPUSH` in one `MULTI`; uvicorn with two "
    "workers, uvloop and httptools, redis-py with hiredis",
    lacks=f"{LOST}, roles and limits, checks of the payload, idempotency, workers",
    jobs=0,
    works=frozenset({"api"}),
    unfit={"*": "an endpoint without a queue behind it"},
    bulk="",
    packages=("fastapi", "uvicorn", "redis", "hiredis", "uvloop", "httptools"),
)
