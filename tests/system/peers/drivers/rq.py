"""RQ: three workers, each of which forks a work horse a job."""

from dataclasses import dataclass

import redis

from tests.system.peers.drivers.base import APPS, BIN, WORKERS, Driver, package_version

INTERVALS = ["--worker-ttl", "30", "--job-monitoring-interval", "5", "--maintenance-interval", "10"]


@dataclass(frozen=True)
class Rq(Driver):
    def members(self, url: str) -> list[list[str]]:
        return [[str(BIN / "rq"), "worker", "--url", url, *INTERVALS, "default"]] * WORKERS

    def producer(self) -> list[str]:
        return [str(BIN / "python"), "-m", f"{APPS}.rq_app"]

    def held(self, client: "redis.Redis[str]") -> int:
        lists = ("rq:queue:default", "rq:queue:default:intermediate")
        sets = ("rq:wip:default", "rq:scheduled:default", "rq:deferred:default")
        return sum(int(client.llen(key)) for key in lists) + sum(
            int(client.zcard(key)) for key in sets
        )

    def failed(self, client: "redis.Redis[str]") -> int:
        return int(client.zcard("rq:failed:default"))

    def version(self) -> str:
        return f"RQ {package_version('rq')}, redis-py {package_version('redis')}"


RQ = Rq(
    name="rq",
    label="RQ",
    configuration="`Retry(max=3)` on every job; three `rq worker` processes with "
    "`--worker-ttl 30 --job-monitoring-interval 5 --maintenance-interval 10`",
    why="Its retry is what re-runs an abandoned job; the intervals (420 s, 30 s and 600 s by "
    "default) are as short as its public options make them useful, and leave a lease of 65 s, "
    "of which 60 s are fixed.",
    lease=65,
)
