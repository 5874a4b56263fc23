"""Every queue that is measured, in the order in which they run."""

from benchmarks.systems import ours, peers
from benchmarks.systems.base import System

SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        ours.OURS,
        ours.FIXED,
        ours.LIMIT,
        peers.SIDEKIQ,
        peers.BULLMQ,
        peers.BULLMQ_ONE,
        peers.HUEY,
        peers.DRAMATIQ,
        peers.TASKIQ,
        peers.ARQ,
        peers.CELERY,
        peers.CELERY_REDIS,
        peers.CELERY_MONGODB,
        peers.RQ,
        peers.RQ_SIMPLE,
        peers.FASTAPI,
    )
}
