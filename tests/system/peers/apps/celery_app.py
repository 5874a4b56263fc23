"""Celery's application; FAULT_CELERY_RELIABLE turns on the options for reliability."""

import os

from celery import Celery

from tests.system.peers.ledger import perform
from tests.system.peers.producing import produce

app = Celery("faults", broker=os.environ["REDIS_URL"])
if os.environ.get("FAULT_CELERY_RELIABLE"):
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
    app.conf.worker_prefetch_multiplier = 1
    app.conf.broker_transport_options = {
        "visibility_timeout": 30,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
    }


@app.task(name="fault")
def fault(job: int) -> None:
    perform(job)


if __name__ == "__main__":
    produce(fault.delay)
