"""How a Django process enqueues here: through the public functions."""

from typing import Any

import django

FIELD = {"stamp": "n", "mixed": "n", "sleep": "seconds", "swallow": "text"}


class Queue:
    def __init__(self) -> None:
        django.setup()
        from benchmarks.ours import tasks
        from jobs import clients, requests, services

        clients.mongo().command("ping")  # connected, as every client with a bulk call is
        clients.redis().ping()
        self.types = {name: getattr(tasks, name) for name in ("noop", "result", *FIELD)}
        self.request = requests.Request
        self.enqueue_many = services.enqueue_many

    def one(self, job: str, arguments: list[Any]) -> None:
        self.types[job].enqueue(*arguments)

    def bulk(self, job: str, many: list[list[Any]]) -> None:
        self.enqueue_many(
            [self.request(type=job, payload=payload(job, arguments)) for arguments in many]
        )


def payload(job: str, arguments: list[Any]) -> dict[str, Any]:
    return {FIELD[job]: arguments[0]} if arguments else {}


def queue() -> Queue:
    return Queue()
