"""One driver a queue: how it is started, asked and counted."""

from tests.system.peers.drivers import bullmq, celery, dramatiq, ours, rq
from tests.system.peers.drivers.base import Driver

DRIVERS: dict[str, Driver] = {
    driver.name: driver
    for driver in (
        ours.OURS,
        celery.DEFAULT,
        celery.RELIABLE,
        rq.RQ,
        dramatiq.DRAMATIQ,
        bullmq.BULLMQ,
    )
}
