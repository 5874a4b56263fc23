"""Celery, as it comes and with its reliability options on."""

from dataclasses import dataclass
from uuid import uuid4

import redis

from tests.system.peers.drivers.base import APPS, BIN, WORKERS, Driver, package_version


@dataclass(frozen=True)
class Celery(Driver):
    reliable: bool = False

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "FAULT_CELERY_RELIABLE": "1" if self.reliable else ""}

    def members(self, url: str) -> list[list[str]]:
        options = ["--concurrency", str(WORKERS), "--loglevel", "WARNING"]
        name = f"tree-{uuid4().hex[:8]}@%h"
        app = ["-A", f"{APPS}.celery_app"]
        return [[str(BIN / "celery"), *app, "worker", *options, "--hostname", name]]

    def producer(self) -> list[str]:
        return [str(BIN / "python"), "-m", f"{APPS}.celery_app"]

    def held(self, client: "redis.Redis[str]") -> int:
        return int(client.llen("celery")) + int(client.hlen("unacked"))

    def version(self) -> str:
        return f"Celery {package_version('celery')}, kombu {package_version('kombu')}"


DEFAULT = Celery(
    name="celery",
    label="Celery",
    configuration="defaults: early acknowledgement, visibility timeout 3,600 s; `--concurrency 3`",
    why="What `Celery(broker=...)` gives without further options; nothing that its broker still "
    "holds unacknowledged can come back within an hour, so 45 s are waited.",
    patience=45,
)
RELIABLE = Celery(
    name="celery-reliable",
    label="Celery, reliable",
    configuration="`task_acks_late`, `task_reject_on_worker_lost`, `worker_prefetch_multiplier=1`, "
    "`visibility_timeout` 30 s, `unacked_restore_interval` 10 s, `unacked_restore_throttle` 1; "
    "`--concurrency 3`",
    why="The options its manual names for jobs that must not be lost; the last two are those that "
    "its transport recommends beside a short visibility timeout.",
    reliable=True,
)
