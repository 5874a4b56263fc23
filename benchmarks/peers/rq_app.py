"""RQ. Without BENCH_RESULTS nothing is kept of a job that ended well."""

import os
from typing import Any

import rq
from redis import Redis

from benchmarks import handlers

TTL = 500 if os.environ.get("BENCH_RESULTS") else 0
line = rq.Queue("default", connection=Redis.from_url(os.environ["REDIS_URL"]))
line.connection.ping()


class Queue:
    def one(self, job: str, arguments: list[Any]) -> None:
        line.enqueue(getattr(handlers, job), *arguments, result_ttl=TTL)

    def bulk(self, job: str, many: list[list[Any]]) -> None:
        function = getattr(handlers, job)
        line.enqueue_many(
            [rq.Queue.prepare_data(function, arguments, result_ttl=TTL) for arguments in many]
        )


def queue() -> Queue:
    return Queue()
