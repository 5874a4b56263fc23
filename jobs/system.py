"""How the system itself is: its stores, its counts, its stewards, its versions and settings."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from pymongo.errors import OperationFailure
from redis.exceptions import RedisError

from jobs import counts, mongodb, outages, repository, selectors, versions
from jobs.clients import collection, mongo, redis
from jobs.errors import StoreDown

PING_SECONDS = 2.0
SEEN_SECONDS = 86_400.0  # a steward that is silent for longer is not shown
LOST_SECONDS = 20.0  # silent for longer, a steward is taken for gone
LATE_SECONDS = 30.0  # since a chore of the leader ran: something holds it up
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class StoreView:
    """One of the two stores; sizes in bytes, `None` where it does not say."""

    name: str
    up: bool
    down_since: datetime | None = None  # as far as this process has seen
    version: str = ""
    round_trip_ms: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    stored: int | None = None  # on disk, with its indexes
    connections: int | None = None
    error: str = ""


@dataclass(frozen=True)
class Drift:
    """The totals that pages show, against what MongoDB itself says it stores."""

    counted: int
    stored: int  # as of its last checkpoint or count: exact while nothing moves
    examined_at: datetime | None  # when `manage.py audit` last compared every job
    examined: int
    wrong: dict[str, int]  # what it found, by check

    @property
    def difference(self) -> int:
        return self.counted - self.stored


@dataclass(frozen=True)
class ChoreView:
    """What a steward does again and again; `late`: nobody has done it for too long."""

    name: str
    ran_at: datetime
    failing: bool
    late: bool


@dataclass(frozen=True)
class StewardView:
    """A steward, as it said itself last."""

    id: str
    host: str
    pid: int
    leading: bool
    live: bool
    at: datetime
    chores: list[ChoreView]


@dataclass(frozen=True)
class WorkerVersion:
    """How many live workers run a version; `same`: it is that of this web process."""

    version: str
    workers: int
    same: bool


@dataclass(frozen=True)
class SettingView:
    """A setting that decides what becomes of jobs and requests."""

    name: str
    value: str
    means: str


@dataclass(frozen=True)
class System:
    """Everything at once."""

    stores: list[StoreView]
    drift: Drift
    stewards: list[StewardView]
    version: str
    packages: dict[str, str]
    worker_versions: list[WorkerVersion]
    settings: list[SettingView] = field(default_factory=list)

    @property
    def leader(self) -> StewardView | None:
        return next((each for each in self.stewards if each.live and each.leading), None)

    @property
    def skewed(self) -> bool:
        return any(not each.same for each in self.worker_versions)


def system() -> System:
    """Return how everything is. Raises `StoreDown`; Redis may be away."""
    return System(
        [_mongodb(), _redis()],
        _drift(),
        _stewards(),
        versions.own(),
        versions.of_packages(),
        _worker_versions(),
        _settings(),
    )


# --- the stores -------------------------------------------------------------------------------


def _mongodb() -> StoreView:
    with mongodb.within(PING_SECONDS):
        took = _milliseconds(lambda: mongo().command("ping"))
        sizes = mongo().command("dbStats")
        version = mongo().client.server_info()["version"]
        status = _server_status()
    return StoreView(
        "MongoDB",
        up=True,
        version=version,
        round_trip_ms=took,
        memory=status.get("mem", {}).get("resident", 0) * MEGABYTE or None,
        stored=round(sizes["storageSize"] + sizes["indexSize"]),
        connections=status.get("connections", {}).get("current"),
    )


def _server_status() -> dict[str, Any]:
    """Return what the server says of itself; nothing, if this user may not ask."""
    try:
        return dict(mongo().client.admin.command("serverStatus"))
    except OperationFailure:
        return {}


def _redis() -> StoreView:
    try:
        with outages.redis.asked():
            took = _milliseconds(redis().ping)
            said: dict[str, Any] = redis().info()
    except (RedisError, StoreDown) as error:
        return StoreView("Redis", up=False, down_since=outages.redis.since, error=str(error)[:200])
    return StoreView(
        "Redis",
        up=True,
        version=said["redis_version"],
        round_trip_ms=took,
        memory=said["used_memory"],
        memory_limit=said.get("maxmemory") or None,
        connections=said["connected_clients"],
    )


def _milliseconds(ask: Callable[[], Any]) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


# --- counts, stewards, versions ---------------------------------------------------------------


def _drift() -> Drift:
    counted = counts.stats().total
    with mongodb.within(PING_SECONDS):
        stored = collection("jobs").estimated_document_count()
    last = repository.last_examination() or {"at": None, "examined": 0, "wrong": {}}
    return Drift(counted, stored, last["at"], last["examined"], last["wrong"])


def _stewards() -> list[StewardView]:
    now = mongodb.now()
    views = []
    for said in repository.stewards(SEEN_SECONDS):
        live = (now - said["at"]).total_seconds() < LOST_SECONDS
        leads = live and said["leading"]
        chores = [
            ChoreView(
                name,
                chore["ran_at"],
                chore["failing"],
                leads and (now - chore["ran_at"]).total_seconds() > LATE_SECONDS,
            )
            for name, chore in sorted(said["chores"].items())
        ]
        facts = (str(said["_id"]), said["host"], said["pid"], said["leading"])
        views.append(StewardView(*facts, live, said["at"], chores))
    return sorted(views, key=lambda view: (not view.live, not view.leading))


def _worker_versions() -> list[WorkerVersion]:
    live = [view.worker for view in selectors.workers(ended=False) if view.state == "live"]
    found = Counter(worker.version for worker in live)
    own = versions.own()
    return [WorkerVersion(name, count, name == own) for name, count in sorted(found.items())]


def _settings() -> list[SettingView]:
    limit = "in any minute, for each user or token; 0: no limit"
    shown = {
        "READ_ONLY": "changes by people and programs are refused; workers go on",
        "JOB_RETENTION_DAYS": "days until a job that ended well or was cancelled is deleted",
        "JOB_MAX_ATTEMPTS": "attempts of a job whose type says nothing else",
        "JOB_TIMEOUT_SECONDS": "seconds until an execution is ended by force",
        "JOB_MAX_CRASHES": "crashes after which a job is dead",
        "JOB_PAYLOAD_MAX_BYTES": "bytes of a payload, at most",
        "JOB_RESULT_MAX_BYTES": "bytes of a result that are kept, at most",
        "WORKER_LOST_SECONDS": "seconds of silence until a worker's jobs are taken back",
        "RATE_LIMIT_SUBMIT": f"jobs {limit}",
        "RATE_LIMIT_READ": f"reads {limit}",
        "RATE_LIMIT_WRITE": f"changes {limit}",
    }
    return [
        SettingView(name, _said(getattr(settings, name)), means) for name, means in shown.items()
    ]


def _said(value: bool | float) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else f"{value:,.10g}"
