"""Dramatiq on its Redis broker."""

from dataclasses import dataclass

import redis

from tests.system.peers.drivers.base import APPS, BIN, WORKERS, Driver, package_version


@dataclass(frozen=True)
class Dramatiq(Driver):
    def members(self, url: str) -> list[list[str]]:
        options = ["--processes", str(WORKERS), "--threads", "1"]
        return [[str(BIN / "dramatiq"), f"{APPS}.dramatiq_app", *options]]

    def producer(self) -> list[str]:
        return [str(BIN / "python"), "-m", f"{APPS}.dramatiq_app"]

    def held(self, client: "redis.Redis[str]") -> int:
        keys = ("dramatiq:default.msgs", "dramatiq:default.DQ.msgs")
        return sum(int(client.hlen(key)) for key in keys)

    def failed(self, client: "redis.Redis[str]") -> int:
        return int(client.zcard("dramatiq:default.XQ"))

    def version(self) -> str:
        return f"Dramatiq {package_version('dramatiq')}, redis-py {package_version('redis')}"


DRAMATIQ = Dramatiq(
    name="dramatiq",
    label="Dramatiq",
    configuration="Redis broker, `heartbeat_timeout` 30 s, `maintenance_chance` 100,000 in a "
    "million; `--processes 3 --threads 1`, default retries",
    why="A heartbeat of 30 s as everywhere here (60 s by default); maintenance runs on one "
    "command in ten instead of one in a thousand, or an idle queue would take many minutes to "
    "look for dead workers.",
)
