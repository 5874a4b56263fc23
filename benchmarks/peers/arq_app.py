"""arq. Without BENCH_RESULTS nothing is kept of a job that has ended."""

import os
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import func

from benchmarks import handlers

SETTINGS = RedisSettings.from_dsn(os.environ["REDIS_URL"])


async def noop(_: Any) -> None:
    handlers.noop()


async def result(_: Any) -> dict[str, bool]:
    return handlers.result()


async def stamp(_: Any, n: int) -> None:
    handlers.stamp(n)


async def sleep(_: Any, seconds: float) -> None:
    await handlers.sleep_async(seconds)


async def mixed(_: Any, n: int) -> None:
    await handlers.mixed_async(n)


class Worker:
    functions = [func(run, name=run.__name__) for run in (noop, result, stamp, sleep, mixed)]
    redis_settings = SETTINGS
    keep_result = 3600 if os.environ.get("BENCH_RESULTS") else 0
    max_jobs = 50
    poll_delay = 0.02


class Queue:
    def __init__(self) -> None:
        self.pool: Any = None

    async def one(self, job: str, arguments: list[Any]) -> None:
        self.pool = self.pool or await create_pool(SETTINGS)
        await self.pool.enqueue_job(job, *arguments)


def queue() -> Queue:
    return Queue()
