"""RQ's job and producer."""

import os

from redis import Redis
from rq import Queue, Retry

from tests.system.peers.ledger import perform
from tests.system.peers.producing import produce


def fault(job: int) -> None:
    perform(job)


def main() -> None:
    queue = Queue("default", connection=Redis.from_url(os.environ["REDIS_URL"]))
    produce(
        lambda job: queue.enqueue("tests.system.peers.apps.rq_app.fault", job, retry=Retry(max=3))
    )


if __name__ == "__main__":
    main()
