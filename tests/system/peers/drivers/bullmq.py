"""BullMQ: three Node processes with one worker each."""

import json
from dataclasses import dataclass

import redis

from tests.system.peers.drivers.base import PEERS, ROOT, WORKERS, Driver

NODE = "node"
SCRIPTS = ROOT / "tests" / "system" / "peers" / "apps"


@dataclass(frozen=True)
class BullMq(Driver):
    def environment(self) -> dict[str, str]:
        return {"NODE_PATH": str(PEERS / "node_modules")}

    def members(self, url: str) -> list[list[str]]:
        return [[NODE, str(SCRIPTS / "bullmq_worker.cjs")]] * WORKERS

    def producer(self) -> list[str]:
        return [NODE, str(SCRIPTS / "bullmq_producer.cjs")]

    def held(self, client: "redis.Redis[str]") -> int:
        lists = ("wait", "active", "paused")
        sets = ("delayed", "prioritized", "waiting-children")
        return sum(int(client.llen(f"bull:faults:{key}")) for key in lists) + sum(
            int(client.zcard(f"bull:faults:{key}")) for key in sets
        )

    def failed(self, client: "redis.Redis[str]") -> int:
        return int(client.zcard("bull:faults:failed"))

    def version(self) -> str:
        return f"BullMQ {_version('bullmq')}, ioredis {_version('ioredis')}"


def _version(package: str) -> str:
    manifest = PEERS / "node_modules" / package / "package.json"
    return str(json.loads(manifest.read_text())["version"])


BULLMQ = BullMq(
    name="bullmq",
    label="BullMQ",
    configuration="defaults: `lockDuration` 30 s, `stalledInterval` 30 s, `maxStalledCount` 1; "
    "three Node processes with one worker of concurrency 1 each, closed gracefully on SIGTERM; "
    "`attempts: 3`",
    why="Its defaults are its recommendation; closing on SIGTERM and `maxRetriesPerRequest: null` "
    "are what its guide to production asks for, and ioredis is the version it is tested with.",
)
