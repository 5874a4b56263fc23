"""How many: jobs in every state, and what happened in every minute. Written with the moves.

Each transaction that moves jobs says here by how many, so the counts are exact whatever dies, and
reading them costs the same with ten jobs as with ten million. A *total* counts the jobs of a lane
by state. A *minute* counts the jobs accepted and the executions ended, with histograms of how long
they waited and ran: of one queue and job type, of a queue, and of all. That of all also counts each
error, by job type and exception.

Two transactions that write one document get in each other's way: each is kept in `STRIPES` parts.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from jobs.registry import Lane
from jobs.states import State

STRIPES: Final = 16
ALL: Final = ""  # as the type of a minute: of all types; as its queue: of all queues
BUCKETS: Final = 64  # of a histogram: number n ends at 2^(n/2) ms, the last (35 days) never

OUTCOMES: Final = ("completed", "failed", "timed_out", "crashed", "lost")  # of an execution

WAITED: Final = [f"waited.{number}" for number in range(BUCKETS)]
NAMES: Final = {
    outcome: (
        f"{outcome}.jobs",
        f"{outcome}.ran_ms",
        [f"{outcome}.ran.{number}" for number in range(BUCKETS)],
    )
    for outcome in OUTCOMES
}

# A claim and its return change no total: what is running is few, and counted in its index.
CLAIMABLE: Final = "claimable"

ERRORS: Final = "errors"
DOT: Final = "\N{ONE DOT LEADER}"  # for a dot within the name of an error
COLUMN: Final[dict[str, str]] = {
    state: CLAIMABLE if state in (State.PENDING, State.RUNNING) else state.value for state in State
}

Named = dict[str, Any]


def bucket(milliseconds: float) -> int:
    """Return the number of the bucket that a time belongs to."""
    if milliseconds < 1:
        return 0
    return min(int(2 * math.log2(milliseconds)) + 1, BUCKETS - 1)


def bucket_end(number: int) -> float:
    """Return up to how many milliseconds a bucket reaches."""
    return float(2 ** (number / 2))


class Changes:
    """By how much one transaction changes the counts."""

    def __init__(self) -> None:
        self._totals: dict[Lane, Counter[str]] = defaultdict(Counter)
        self._minutes: dict[tuple[datetime | None, str, str], Counter[str]] = defaultdict(Counter)

    def entered(self, lane: Lane, state: str, jobs: int = 1) -> None:
        """Count jobs that are in a state now; what is none of the states is in no total."""
        if state in COLUMN:
            self._totals[lane][COLUMN[state]] += jobs

    def left(self, lane: Lane, state: str) -> None:
        """Count a job out of a state."""
        if state in COLUMN:
            self._totals[lane][COLUMN[state]] -= 1

    def accepted(self, queue: str, type: str, at: datetime | None, jobs: int = 1) -> None:
        """Count new jobs, accepted at that time; `None`: now."""
        self._minutes[at and minute_of(at), queue, type]["accepted"] += jobs

    def ended(
        self,
        queue: str,
        type: str,
        outcome: str,
        *,
        at: datetime | None = None,
        waited: float | None = None,
        ran: float | None = None,
        error_type: str = "",
    ) -> None:
        """Count an execution that ended at that time; `None`: now.

        With the milliseconds that it waited and ran; `None`: unknown. `error_type`: of a failure.
        """
        if outcome not in NAMES:
            return  # of a newer version beside this one
        counts = self._minutes[at and minute_of(at), queue, type]
        jobs, ran_ms, ran_in = NAMES[outcome]
        counts[jobs] += 1
        if waited is not None:
            counts[WAITED[bucket(waited)]] += 1
        if ran is not None:
            counts[ran_in[bucket(ran)]] += 1
            counts[ran_ms] += round(ran)
        if error_type:
            self._minutes[at and minute_of(at), ALL, ALL][error_name(type, error_type)] += 1

    def add(self, other: "Changes") -> None:
        """Take in what another part of the same transaction changes."""
        for lane, counts in other._totals.items():
            self._totals[lane].update(counts)
        for name, counts in other._minutes.items():
            self._minutes[name].update(counts)

    def columns(self) -> Counter[tuple[Lane, str]]:
        """Return the change of each total."""
        return Counter(
            {
                (lane, column): jobs
                for lane, counts in self._totals.items()
                for column, jobs in counts.items()
            }
        )

    def correct(self, off: Counter[tuple[Lane, str]]) -> None:
        """Change totals by that much."""
        for (lane, column), jobs in off.items():
            self._totals[lane][column] += jobs

    def additions(self, now: datetime, stripe: int) -> Iterator[tuple[Named, Mapping[str, int]]]:
        """Yield which document of the collection `tallies` each change belongs to, and the change.

        A dot in the name of a number stands for a level.
        """
        for lane, counts in self._totals.items():
            name = {"queue": lane.queue, "priority": lane.priority, "stripe": stripe}
            if change := {state: jobs for state, jobs in counts.items() if jobs}:
                yield _named("total", name), change
        for (minute, queue, type), counts in self._rolled_up(minute_of(now)).items():
            name = {"minute": minute, "queue": queue, "type": type, "stripe": stripe}
            yield _named("minute", name), counts

    def _rolled_up(self, now: datetime) -> dict[tuple[datetime, str, str], Counter[str]]:
        rolled: dict[tuple[datetime, str, str], Counter[str]] = defaultdict(Counter)
        for (minute, queue, type), counts in self._minutes.items():
            for name in dict.fromkeys([(queue, type), (queue, ALL), (ALL, ALL)]):
                rolled[minute or now, *name].update(counts)
        return rolled


def error_name(type: str, error_type: str) -> str:
    """Return what counts a kind of error in a minute. A dot in a name would stand for a level."""
    return f"{ERRORS}." + f"{type}:{error_type}".replace(".", DOT)


def error_of(name: str) -> tuple[str, str]:
    """Return job type and exception of a name that `error_name` made."""
    type, _, error_type = name.removeprefix(f"{ERRORS}.").replace(DOT, ".").partition(":")
    return type, error_type


def minute_of(at: datetime) -> datetime:
    """Return when the minute of that time began."""
    return at.replace(second=0, microsecond=0)


def _named(kind: str, name: Named) -> Named:
    # The names of queues and types hold no "/".
    return {"_id": "/".join(map(str, (kind, *name.values()))), **name}


def quantile(histogram: Mapping[int, int], share: float) -> float | None:
    """Return the milliseconds that `share` of the times do not exceed; `None` of no times.

    Within a bucket the times are taken for evenly spread on a logarithmic scale, so the answer is
    at most a factor of 1.41 off.
    """
    wanted, seen = share * sum(histogram.values()), 0
    for number in sorted(histogram):
        inside = histogram[number]
        if inside and seen + inside >= wanted:
            return bucket_end(number) / 2 ** ((seen + inside - wanted) / inside / 2)
        seen += inside
    return None
