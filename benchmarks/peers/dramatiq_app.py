"""Dramatiq on its Redis broker; results only with BENCH_RESULTS."""

import os
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks import handlers

URL = os.environ["REDIS_URL"]
KEPT = {"store_results": True} if os.environ.get("BENCH_RESULTS") else {}

broker = RedisBroker(url=URL)
if KEPT:
    broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)
JOBS = ("noop", "result", "sleep", "stamp", "mixed")
actors = {name: dramatiq.actor(actor_name=name, **KEPT)(getattr(handlers, name)) for name in JOBS}


class Queue:
    def one(self, job: str, arguments: list[Any]) -> None:
        actors[job].send(*arguments)


def queue() -> Queue:
    return Queue()
