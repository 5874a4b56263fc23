"""Dramatiq's broker, actor and producer."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.system.peers.ledger import perform
from tests.system.peers.producing import produce

broker = RedisBroker(
    url=os.environ["REDIS_URL"], heartbeat_timeout=30_000, maintenance_chance=100_000
)
dramatiq.set_broker(broker)


@dramatiq.actor
def fault(job: int) -> None:
    perform(job)


if __name__ == "__main__":
    produce(fault.send)
