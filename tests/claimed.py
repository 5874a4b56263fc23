"""A job as a worker has it in hand, for tests that need no store."""

import time
from typing import Any

from bson import DatetimeMS, ObjectId

from jobs.claims import ClaimedJob
from jobs.registry import Lane


def claimed(
    type: str, payload: dict[str, Any] | None = None, *, attempt: int = 1, max_attempts: int = 4
) -> ClaimedJob:
    return ClaimedJob(
        id=ObjectId(),
        type=type,
        lane=Lane("default", "medium"),
        payload=payload or {},
        attempt=attempt,
        max_attempts=max_attempts,
        crashes=0,
        claim=1,
        enqueued_at=DatetimeMS(0),
        claimed_at=DatetimeMS(0),
        taken=time.monotonic(),
    )
