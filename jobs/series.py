"""How the queue has been lately: what each minute brought, the counts a while ago, which errors."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs import counting, mongodb, samples, selectors
from jobs.selectors import Minute
from jobs.tallies import ERRORS, error_of, minute_of

MINUTES = 60
SETTLED = 3  # minutes; what is older changes only if somebody died, and is read again with the rest
REREAD_SECONDS = 60.0
REMEMBERED = 64  # queues
SAMPLES = 15  # minutes
TOP_ERRORS = 8


@dataclass(frozen=True)
class _Lately:
    """What a minute brought, and its errors by type and exception."""

    minute: Minute
    errors: Mapping[tuple[str, str], int]


def _lately(at: datetime, counts: Mapping[str, int]) -> _Lately:
    errors = {
        error_of(name): number for name, number in counts.items() if name.startswith(f"{ERRORS}.")
    }
    return _Lately(selectors.as_minute(at, counts), errors)


class _Hour:
    """The last hour of a queue, of which only the newest minutes are read anew."""

    def __init__(self) -> None:
        self.read_at = float("-inf")
        self.lately: dict[datetime, _Lately] = {}

    def read(self, queue: str) -> list[_Lately]:
        """Return each whole minute, the oldest first."""
        current = minute_of(mongodb.now())
        whole = time.monotonic() - self.read_at > REREAD_SECONDS
        since = current - timedelta(minutes=MINUTES if whole else SETTLED)
        fresh: dict[datetime, Counter[str]] = defaultdict(Counter)
        for at, counts in counting.minutes(since, queue=queue, type=""):
            fresh[at].update(counts)
        every = [current - timedelta(minutes=ago) for ago in range(MINUTES, 0, -1)]
        known = {} if whole else self.lately
        self.lately = {
            at: known[at] if at in known and at < since else _lately(at, fresh[at]) for at in every
        }
        if whole:
            self.read_at = time.monotonic()
        return list(self.lately.values())


_hours: dict[str, _Hour] = {}


def forget() -> None:
    """Read everything anew."""
    _hours.clear()


def _hour(queue: str) -> list[_Lately]:
    if queue not in _hours and len(_hours) >= REMEMBERED:
        _hours.clear()
    return _hours.setdefault(queue, _Hour()).read(queue)


def hour(queue: str = "") -> list[Minute]:
    """Return the last 60 whole minutes, the oldest first; of one queue, or of all.

    Costs the reading of three minutes; once a minute, of all of them.
    """
    return [lately.minute for lately in _hour(queue)]


@dataclass(frozen=True)
class TopError:
    """How often jobs of a type failed with an exception within the last hour."""

    type: str
    error_type: str
    count: int


def hour_and_errors() -> tuple[list[Minute], list[TopError]]:
    """Return `hour`, and what failed most in it, whatever became of the jobs since."""
    every, hour = Counter[tuple[str, str]](), _hour("")
    for lately in hour:
        every.update(lately.errors)
    errors = [TopError(*of, count) for of, count in every.most_common(TOP_ERRORS)]
    return [lately.minute for lately in hour], errors


@dataclass(frozen=True)
class Sample:
    """How many jobs there were at a moment: in each state, and waiting in each queue."""

    at: datetime
    by_status: dict[str, int]
    pending: dict[str, int]


def recent_samples(minutes: int = SAMPLES) -> list[Sample]:
    """Return the samples of the last minutes, the oldest first; none while no steward ran."""
    since = minute_of(mongodb.now()) - timedelta(minutes=minutes)
    return [
        Sample(document["at"], document["by_status"], document["pending"])
        for document in samples.since(since)
    ]
