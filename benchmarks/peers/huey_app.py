"""Huey on Redis. It keeps what a job returns, and nothing where that is None."""

import os
from typing import Any

from huey import RedisHuey

from benchmarks import handlers

huey = RedisHuey("bench", url=os.environ["REDIS_URL"])
JOBS = ("noop", "result", "sleep", "stamp", "mixed")
tasks = {name: huey.task(name=name)(getattr(handlers, name)) for name in JOBS}


class Queue:
    def one(self, job: str, arguments: list[Any]) -> None:
        tasks[job](*arguments)


def queue() -> Queue:
    return Queue()
