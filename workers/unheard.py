"""Claims whose reply was not heard: MongoDB may say that a worker holds jobs which it never got.

Nobody else finds them: their worker lives, and only it knows what it has in hand.
"""

import time

import structlog
from bson import ObjectId

from jobs import services
from jobs.errors import StoreDown

log = structlog.get_logger(__name__)

# A claim may arrive after its sender gave up: a partition heals, and the network sends it again.
DOUBT_SECONDS = 120.0
LOOK_SECONDS = 1.0


class Unheard:
    """Gives back, for as long as there is doubt, what such claims have taken."""

    def __init__(self, worker: ObjectId) -> None:
        self._worker = worker
        self._until: dict[ObjectId, float] = {}
        self._look_at = float("-inf")

    def add(self, batch: ObjectId) -> None:
        """Remember a claim that failed. Any thread may call it."""
        self._until[batch] = time.monotonic() + DOUBT_SECONDS

    def give_back(self) -> bool:
        """Look, at most once a second, for what is held. Returns whether there is doubt left."""
        now = time.monotonic()
        if self._until and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look(now)
        return bool(self._until)

    def _look(self, now: float) -> None:
        batches = list(self._until.items())
        try:
            jobs = services.give_back_batches(self._worker, [batch for batch, _ in batches])
        except StoreDown as error:
            log.warning("give_back.waiting", claims=len(batches), error=str(error)[:200])
            return
        if jobs:
            log.warning("claim.unheard", jobs=jobs)
        for batch, until in batches:
            if until < now:
                del self._until[batch]
