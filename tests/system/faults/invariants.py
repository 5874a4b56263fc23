"""What must hold after every fault, counted from outside: the ledger, MongoDB, Redis, processes.

L  nothing that was accepted is lost, and all of it ends in time
P  what is completed has an end in the ledger, under that claim
1  one accepted end per claim
O  executions of one job overlap only where the fault allows it
A  attempts and crashes stay within their budgets
B  no retry comes before its backoff is over
S  it settles: lanes empty, nothing running, no orphan process
C  the counters shown equal MongoDB's
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId
from django.conf import settings

from jobs import clients, counting, counts, lanes, selectors, services
from jobs.clients import Document, collection
from tests.system.faults.ledger import Execution, Ledger, overlaps

ENDED = ("completed", "dead", "cancelled")


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True)
class Allowed:
    """What the fault of this row may do; everything else is a violation."""

    overlaps: bool = False  # a zombie may run beside its successor
    crashes: bool = True  # what ran in a process that was killed is charged a crash
    dead: frozenset[str] = frozenset()  # jobs that are meant to end in the dead-letter queue
    unledgered: frozenset[str] = frozenset()  # jobs of types that write no ledger
    cancelled: frozenset[str] = frozenset()


@dataclass
class Count:
    """The figures of one run."""

    jobs: int = 0
    executions: int = 0
    twice: int = 0  # executions that came to their end, beyond one for each end that was wanted
    refused: int = 0
    figures: dict[str, Any] = field(default_factory=dict)


def check(accepted: Sequence[str], ledger: Ledger, allowed: Allowed) -> Count:
    """Check every invariant but S's processes. Raises `Violation` that names what does not hold."""
    runs = ledger.by_job()
    faults: dict[str, list[str]] = defaultdict(list)
    for start in range(0, len(accepted), PART):
        part = list(accepted[start : start + PART])
        jobs = _documents(part)
        of_part = {id: runs[id] for id in part if id in runs}
        for name, test in CHECKS.items():
            faults[name] += test(part, jobs, of_part, allowed)
    faults["S, not settled"] += _unsettled()
    faults["C, counters differ"] += _miscounted()
    if said := [
        f"{name}: {len(of)} times. {'; '.join(of[:5])}" for name, of in faults.items() if of
    ]:
        raise Violation("\n".join(said))
    return Count(
        jobs=len(accepted),
        executions=sum(map(len, runs.values())),
        twice=sum(max(0, _good_ends(executions) - 1) for executions in runs.values()),
        refused=selectors.refused_ends(),
    )


def _good_ends(executions: Iterable[Execution]) -> int:
    return sum(e.ended is not None and not e.failed for e in executions)


def _documents(ids: Iterable[str]) -> "Jobs":
    found = collection("jobs").find({"_id": {"$in": [ObjectId(id) for id in ids]}}, FIELDS)
    return {str(job["_id"]): job for job in found}


FIELDS = dict.fromkeys(
    (
        *("status", "error", "type", "tags", "attempt", "max_attempts", "crashes"),
        *("attempts.claim", "attempts.outcome", "result.claim"),
    ),
    1,
)
PART = 5000  # jobs checked at a time
Jobs = dict[str, Document]
Runs = dict[str, list[Execution]]


def _lost(wanted: list[str], jobs: Jobs, runs: Runs, allowed: Allowed) -> Iterable[str]:
    for id in wanted:
        status = jobs[id]["status"] if id in jobs else "gone"
        dead = status == "dead" and id not in allowed.dead
        stopped = status == "cancelled" and id not in allowed.cancelled
        if status not in ENDED or dead or stopped:
            error = jobs[id]["error"] if id in jobs else ""
            yield f"{id} is {status} ({error})"


def _unproven(wanted: list[str], jobs: Jobs, runs: Runs, allowed: Allowed) -> Iterable[str]:
    for id, job in jobs.items():
        if job["status"] != "completed" or id in allowed.unledgered:
            continue
        claims = [a["claim"] for a in job["attempts"] if a["outcome"] == "completed"]
        ended = {e.claim for e in runs.get(id, []) if e.ended and not e.failed}
        if not claims or claims[-1] not in ended:
            yield f"{id} is completed under claim {claims}, but the ledger has ends {ended}"
        elif job["type"] == "work" and (job.get("result") or {}).get("claim") != claims[-1]:
            yield f"{id} is completed under claim {claims[-1]}, but its result is of another"


def _ended_twice(wanted: list[str], jobs: Jobs, runs: Runs, allowed: Allowed) -> Iterable[str]:
    for id, job in jobs.items():
        claims = [attempt["claim"] for attempt in job["attempts"]]
        ends = sum(attempt["outcome"] == "completed" for attempt in job["attempts"])
        if len(set(claims)) < len(claims) or (ends > 1 and "requeued" not in job["tags"]):
            yield f"{id} has ends under the claims {claims}, {ends} of them completed"


def _overlapped(wanted: list[str], jobs: Jobs, runs: Runs, allowed: Allowed) -> Iterable[str]:
    if not allowed.overlaps:
        for id, executions in runs.items():
            if overlaps(executions):
                yield f"{id} ran twice at the same time: {executions}"


def _over_budget(wanted: list[str], jobs: Jobs, runs: Runs, allowed: Allowed) -> Iterable[str]:
    most = settings.JOB_MAX_CRASHES if allowed.crashes else 0
    for id, job in jobs.items():
        if job["attempt"] > job["max_attempts"] or job["crashes"] > most:
            yield f"{id} has {job['attempt']} attempts and {job['crashes']} crashes"


def _too_soon(wanted: list[str], jobs: Jobs, runs: Runs, allowed: Allowed) -> Iterable[str]:
    for id, job in jobs.items():
        if job["type"] != "work":
            continue
        failed = [e for e in runs.get(id, []) if e.failed]
        for number, execution in enumerate(failed, 1):
            later = [e.started for e in runs[id] if e.started > (execution.ended or 0)]
            least = settings.JOB_BACKOFF_SECONDS * 2 ** (number - 1)
            # The end is measured again when it is recorded: a few milliseconds either way.
            if later and min(later) - (execution.ended or 0) < least - 0.05:
                yield f"{id} came back after {min(later) - (execution.ended or 0):.2f} s"


def _unsettled() -> Iterable[str]:
    running = collection("jobs").count_documents({"status": "running"})
    if running:
        yield f"{running} jobs are running"
    for queue in services.known_queues():
        for lane in lanes.in_order([queue]):
            if length := clients.redis().llen(lanes.key(lane)):
                yield f"{length} ids are in {lane}"


def _miscounted() -> list[str]:
    """Nothing moves any more, so whatever is off now would be off for good."""
    counts.forget()
    shown = counts.stats().by_status
    pipeline = [{"$group": {"_id": "$status", "n": {"$sum": 1}}}]
    truth = {row["_id"]: row["n"] for row in collection("jobs").aggregate(pipeline)}
    wrong = [
        f"{number} {status} are shown, {truth.get(status, 0)} there are"
        for status, number in shown.items()
        if number != truth.get(status, 0)
    ]
    off = [f"{place} is off by {jobs}" for place, jobs in counting.miscounted().items()]
    return [*wrong, *off]


CHECKS: dict[str, Callable[[list[str], Jobs, Runs, Allowed], Iterable[str]]] = {
    "L, lost or not ended": _lost,
    "P, completed without an end in the ledger": _unproven,
    "1, more than one end": _ended_twice,
    "O, overlapping executions": _overlapped,
    "A, over its budget": _over_budget,
    "B, back before its backoff": _too_soon,
}
