"""TaskIQ on a Redis list; results only with BENCH_RESULTS."""

import os
from typing import Any

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from benchmarks import handlers

URL = os.environ["REDIS_URL"]

# It blocks for ever in BRPOP, which redis-py 8 takes for a dead connection after 5 s.
broker = ListQueueBroker(URL, max_connection_pool_size=32, socket_timeout=None)
if os.environ.get("BENCH_RESULTS"):
    broker = broker.with_result_backend(RedisAsyncResultBackend(URL, max_connection_pool_size=32))


async def noop() -> None:
    handlers.noop()


async def result() -> dict[str, bool]:
    return handlers.result()


async def stamp(n: int) -> None:
    handlers.stamp(n)


FUNCTIONS: dict[str, Any] = {
    "noop": noop,
    "result": result,
    "stamp": stamp,
    "sleep": handlers.sleep_async,
    "mixed": handlers.mixed_async,
}
tasks = {name: broker.register_task(run, task_name=name) for name, run in FUNCTIONS.items()}


class Queue:
    def __init__(self) -> None:
        self.ready = False

    async def one(self, job: str, arguments: list[Any]) -> None:
        if not self.ready:
            await broker.startup()
            self.ready = True
        await tasks[job].kiq(*arguments)


def queue() -> Queue:
    return Queue()
