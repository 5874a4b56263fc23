"""What passes between the workers, the services and the repository: jobs in somebody's hands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from bson import DatetimeMS, ObjectId

from jobs.clients import Document
from jobs.registry import Lane
from jobs.states import State


class Hint(NamedTuple):
    """What a lane holds: where a pending job stands in line."""

    id: ObjectId
    lane: Lane


@dataclass(slots=True)  # not frozen: that makes it three times as slow to create
class ClaimedJob:
    """A job that one worker holds under one claim."""

    id: ObjectId
    type: str
    lane: Lane
    payload: Document
    attempt: int  # the number of the attempt that this execution is, from 1
    max_attempts: int
    crashes: int
    claim: int
    enqueued_at: DatetimeMS
    claimed_at: DatetimeMS
    taken: float  # time.monotonic() of the claim's reply
    uncounted: bool = False  # see models.Job


@dataclass(frozen=True, slots=True)
class Holding:
    """That a worker has a job under one claim."""

    worker: ObjectId
    job: ObjectId
    claim: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What an operator asked of a `runworkers`, and when: again is another asking."""

    what: str  # quiet, resume or stop
    at: datetime
    by: str


@dataclass(slots=True)
class End:
    """How one execution ended, to be recorded under its claim."""

    job: ClaimedJob
    status: State  # where the job goes
    outcome: str  # how the execution ended: see models.Attempt
    consumed: int = 1  # attempts used up: 0 for a crash
    crashes: int = 0
    started: float | None = None  # time.monotonic() of this machine; None: unknown
    ended: float = 0.0
    delay_seconds: float | None = None  # until it is due again
    keep_seconds: float | None = None  # until it is deleted; None: it stays
    result: Any = None
    result_error: str | None = None
    error_type: str = ""
    error: str | None = None
    traceback: str = ""
    logs: Sequence[str] = ()  # the last lines that it logged
    size: int = 0  # bytes that this end adds to its document

    @property
    def id(self) -> ObjectId:
        return self.job.id

    @property
    def claim(self) -> int:
        return self.job.claim

    @property
    def ran_ms(self) -> float | None:
        """Milliseconds from start to end; `None`: unknown."""
        return None if self.started is None else (self.ended - self.started) * 1000

    @property
    def waited_ms(self) -> float | None:
        """Milliseconds from when it could be claimed to its start; `None`: unknown."""
        if self.started is None:
            return None
        in_lane = int(self.job.claimed_at) - int(self.job.enqueued_at)
        return in_lane + (self.started - self.job.taken) * 1000
