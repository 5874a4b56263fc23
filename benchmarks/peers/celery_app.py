"""Celery; BENCH_BACKEND says where results go, if anywhere."""

import os
from typing import Any

from celery import Celery

from benchmarks import handlers

BACKENDS = {
    "redis": os.environ["REDIS_URL"],
    "mongodb": os.environ.get("MONGODB_URI", "") + "&w=majority&journal=true",
}
BACKEND = BACKENDS.get(os.environ.get("BENCH_BACKEND", ""))

app = Celery("bench", broker=os.environ["REDIS_URL"], backend=BACKEND)
app.conf.update(
    task_ignore_result=BACKEND is None,
    worker_prefetch_multiplier=128,
    broker_pool_limit=16,
    worker_disable_rate_limits=True,
)
JOBS = ("noop", "result", "sleep", "stamp", "mixed")
tasks = {name: app.task(name=name)(getattr(handlers, name)) for name in JOBS}


class Queue:
    def one(self, job: str, arguments: list[Any]) -> None:
        tasks[job].apply_async(arguments)


def queue() -> Queue:
    return Queue()
