"""Whether every accepted job is where it should be: in one state, in one lane, in somebody's hands.

Reads a live system, where everything moves between two readings. So whatever looks wrong is read
again, a few times, and only what stays is called wrong; what somebody is about to mend is called
waiting. Everything is read in bounded pieces, and only ids are kept.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, pairwise
from typing import Any, TypeVar

from bson import ObjectId
from django.conf import settings

from jobs import counting, lanes, mongodb, repository, services, sweeps
from jobs.clients import Document
from jobs.counting import Totals
from jobs.registry import PRIORITIES, Lane
from jobs.repository import KEPT_ATTEMPTS
from jobs.states import WAITING, State
from jobs.tallies import COLUMN

S = TypeVar("S", bound=Collection[Any])

PIECE = 5_000  # jobs read at once
EXAMPLES = 5
PAUSES = (0.2, 0.5, 1.0)  # seconds before each further reading of what looks wrong
OVERDUE_SECONDS = 30.0  # a new leader may take half of it to notice that the last one is gone
REPAIR_PAUSES = (1.0,) * 20  # as long, for what the steward should have put back
AHEAD = timedelta(minutes=1)  # a time that far ahead of MongoDB's is no time of a pending job


@dataclass(frozen=True)
class Finding:
    """Jobs that have the same thing in common: what it means and what to do, in one sentence."""

    count: int
    says: str
    examples: list[str]


@dataclass(frozen=True)
class Check:
    """One question, and how many of those examined wait for something or are wrong."""

    name: str
    seen: int
    waits: list[Finding]
    faults: list[Finding]

    @property
    def waiting(self) -> int:
        return sum(finding.count for finding in self.waits)

    @property
    def wrong(self) -> int:
        return sum(finding.count for finding in self.faults)

    @property
    def examined(self) -> int:
        # What is found was counted later than the whole: on a live system it may be more.
        return max(self.seen, self.waiting + self.wrong)

    @property
    def ok(self) -> int:
        return self.examined - self.waiting - self.wrong


@dataclass(frozen=True)
class Hints:
    """What the lanes hold. Stale and doubled ids are harmless: they die at the claim guard."""

    read: int
    stale: int  # ids of jobs that are not pending
    doubled: int  # ids that are in a lane once more
    misplaced: int  # ids of pending jobs that are only in the lane of others: not harmless


@dataclass(frozen=True)
class Report:
    """The answers to all questions, in the order in which they were asked."""

    fields: Check
    in_line: Check
    held: Check
    due: Check
    counters: Check
    hints: Hints

    @property
    def checks(self) -> list[Check]:
        return [self.fields, self.in_line, self.held, self.due, self.counters]

    @property
    def wrong(self) -> int:
        return sum(check.wrong for check in self.checks)


def examine() -> Report:
    """Check everything, changing nothing; a note is kept. Raises `StoreDown`, `RedisError`."""
    totals = counting.totals()
    in_line, hints = _in_line(totals)
    report = Report(_fields(), in_line, _held(totals), _due(totals), _counters(), hints)
    wrong = {check.name: check.wrong for check in report.checks if check.wrong}
    repository.keep_examination({"examined": report.fields.examined, "wrong": wrong})
    return report


def mend(report: Report) -> dict[str, int]:
    """Do at once what the steward does, as far as it is safe; return how many jobs were moved.

    Raises `StoreDown`, `RedisError`.
    """
    # With a live steward the lost are left to it: it knows when an outage kept everybody silent.
    stuck = bool(report.held.faults)
    moved = {
        "taken back": services.reap(settings.WORKER_LOST_SECONDS) if stuck else 0,
        "promoted": sum(_promotions()),
        "counted again": services.recount(),
    }
    # The last, for it may raise: it needs both stores.
    put_back = sum(sum(services.repair(queue).values()) for queue in services.known_queues())
    return {"put back": put_back, **moved}


def _promotions() -> Iterator[int]:
    while promoted := services.promote():
        yield promoted


def _confirmed(suspects: S, again: Callable[[S], S], pauses: Iterable[float] | None = None) -> S:
    """Return those suspects that stay so however often they are read again."""
    for pause in PAUSES if pauses is None else pauses:
        if not suspects:
            break
        time.sleep(pause)
        suspects = again(suspects)
    return suspects


def _past_a_heartbeat() -> list[float]:
    """Pauses during which every steward alive says so, and a new leader takes over."""
    return [*PAUSES, settings.WORKER_HEARTBEAT_SECONDS]


def _finding(says: str, ids: Collection[Any]) -> list[Finding]:
    """Return the finding, or none if there are no such jobs."""
    some = [str(id) for id, _ in zip(ids, range(EXAMPLES), strict=False)]
    return [Finding(len(ids), says, some)] if ids else []


def _pieces(ids: Iterable[ObjectId]) -> Iterator[list[ObjectId]]:
    every = list(ids)
    for start in range(0, len(every), PIECE):
        yield every[start : start + PIECE]


# --- 1: every job is in one known state, and its fields agree with it --------------------------


def _claims(job: Document) -> list[int]:
    return [attempt["claim"] for attempt in job["attempts"]]


def _outcomes(job: Document) -> list[str]:
    return [attempt["outcome"] for attempt in job["attempts"]]


def _ends(job: Document, outcomes: Collection[str]) -> float:
    """How many executions ended so; without bound where the oldest are no longer kept."""
    if len(job["attempts"]) >= KEPT_ATTEMPTS:
        return float("inf")
    return sum(outcome in outcomes for outcome in _outcomes(job))


CONSUMING = frozenset({"completed", "failed", "timed_out"})
CRASHES = frozenset({"crashed", "lost"})
ENDED = frozenset({State.COMPLETED, State.DEAD, State.CANCELLED})
EXPIRING = frozenset({State.COMPLETED, State.CANCELLED})
RECORDED = frozenset({State.COMPLETED, State.DEAD, State.RETRYING})
CLAIMABLE = frozenset({State.PENDING, State.RUNNING})
ALIVE = CLAIMABLE | set(WAITING)
EVERY = frozenset(State)


@dataclass(frozen=True)
class Rule:
    """Something that is true of every job in these states, whatever happens."""

    states: Collection[State]
    says: str
    holds: Callable[[Document], bool]  # raises what a missing field or a wrong type does


RULES = [
    Rule(
        EVERY,
        "The priority is high, medium or low: no other lane is served.",
        lambda job: job["priority"] in PRIORITIES,
    ),
    Rule(
        EVERY,
        "enqueued_at is a time: without it repair does not find the job.",
        lambda job: isinstance(job["enqueued_at"], datetime),
    ),
    Rule(
        WAITING,
        "A job that waits for a time has it in run_at: without it, it is never promoted.",
        lambda job: isinstance(job["run_at"], datetime),
    ),
    Rule(
        EVERY - set(WAITING),
        "run_at is empty unless the job waits for that time.",
        lambda job: job["run_at"] is None,
    ),
    Rule(
        ENDED,
        "A job that ended says when, in finished_at.",
        lambda job: isinstance(job["finished_at"], datetime),
    ),
    Rule(
        EVERY - ENDED,
        "finished_at is empty until the job has ended.",
        lambda job: job["finished_at"] is None,
    ),
    Rule(
        EXPIRING,
        "A completed or cancelled job has an expire_at: without it, it stays for ever.",
        lambda job: isinstance(job["expire_at"], datetime),
    ),
    Rule(
        EVERY - EXPIRING,
        "expire_at is empty while a job may still run: it is deleted at that time.",
        lambda job: job["expire_at"] is None,
    ),
    Rule(
        EVERY,
        "A job that was ever claimed knows its worker, and only such a one does.",
        lambda job: job["claim"] >= 0 and (job["worker"] is not None) == (job["claim"] > 0),
    ),
    Rule(
        [State.RUNNING],
        "A running job has a worker, a claim of 1 or more and a start.",
        lambda job: (
            job["worker"] is not None and job["claim"] >= 1 and job["started_at"] is not None
        ),
    ),
    Rule(
        [State.SCHEDULED],
        "A scheduled job has never run.",
        lambda job: not (job["claim"] or job["attempt"] or job["crashes"] or _outcomes(job)),
    ),
    Rule(
        EVERY,
        "No more attempts are used up than allowed.",
        lambda job: 0 <= job["attempt"] <= job["max_attempts"],
    ),
    Rule(
        CLAIMABLE,
        "A job that may run has an attempt left.",
        lambda job: job["attempt"] < job["max_attempts"],
    ),
    Rule(
        [State.RETRYING],
        "A retrying job has used up an attempt or crashed twice, and has an attempt left.",
        lambda job: (
            (job["attempt"] >= 1 or job["crashes"] >= 2) and job["attempt"] < job["max_attempts"]
        ),
    ),
    Rule(
        ALIVE,
        "A job that may run has crashed less often than JOB_MAX_CRASHES (was that lowered?).",
        lambda job: 0 <= job["crashes"] < settings.JOB_MAX_CRASHES,
    ),
    Rule(
        EVERY,
        "Every attempt that is used up is listed with its end.",
        lambda job: job["attempt"] <= _ends(job, CONSUMING),
    ),
    Rule(
        EVERY,
        "Every crash that is charged is listed.",
        lambda job: job["crashes"] <= _ends(job, CRASHES),
    ),
    Rule(
        EVERY,
        "No two ends were accepted under one claim, and none under a claim to come.",
        lambda job: all(a < b for a, b in pairwise([0, *_claims(job), job["claim"] + 1])),
    ),
    Rule(
        [State.RUNNING],
        "No end was accepted under the claim that a running job is held by.",
        lambda job: job["claim"] not in _claims(job),
    ),
    Rule(
        RECORDED,
        "A job that its worker left has its end listed under its last claim.",
        lambda job: _claims(job)[-1:] == [job["claim"]],
    ),
    Rule(
        [State.COMPLETED],
        "A completed job ended well once, and last.",
        lambda job: _outcomes(job).index("completed") == len(_outcomes(job)) - 1,
    ),
    Rule(
        EVERY - {State.COMPLETED},
        "A job that ended well once stays completed.",
        lambda job: "completed" not in _outcomes(job),
    ),
    Rule(
        [State.DEAD],
        "A dead job has no attempt left, or crashed last.",
        lambda job: job["attempt"] >= job["max_attempts"] or _outcomes(job)[-1] in CRASHES,
    ),
]
BY_STATE = {state.value: [rule for rule in RULES if state in rule.states] for state in State}
UNKNOWN = "The state is one of the seven."
READ = (
    *("status", "queue", "priority", "worker", "claim", "attempt", "max_attempts", "crashes"),
    *("enqueued_at", "run_at", "started_at", "finished_at", "expire_at"),
    *("attempts.claim", "attempts.outcome"),
)


def _fields() -> Check:
    seen, suspects = 0, dict[ObjectId, str]()
    for piece in _every_job():
        seen += len(piece)
        suspects |= _broken(piece)
    by_rule = defaultdict(list)
    for id, rule in _confirmed(suspects, _still_broken).items():
        by_rule[rule].append(id)
    faults = [_finding(f"{BROKEN} {rule}", ids) for rule, ids in sorted(by_rule.items())]
    return Check("jobs: one state, fields agree", seen, [], list(chain(*faults)))


BROKEN = (
    "These jobs break a rule that the program keeps, so something else wrote them: look at each, "
    "then requeue or cancel it. The rule:"
)


def _every_job() -> Iterator[list[Document]]:
    piece = sweeps.jobs_after(None, READ, PIECE)
    while piece:
        yield piece
        piece = sweeps.jobs_after(piece[-1]["_id"], READ, PIECE)


def _broken(jobs: Iterable[Document]) -> dict[ObjectId, str]:
    return {job["_id"]: rule for job in jobs if (rule := broken_rule(job)) is not None}


def _still_broken(suspects: Mapping[ObjectId, str]) -> dict[ObjectId, str]:
    pieces = _pieces(suspects)
    return _broken(chain.from_iterable(sweeps.jobs_among(ids, READ) for ids in pieces))


def broken_rule(job: Document) -> str | None:
    """Return the first rule that a stored job breaks; `None` if it keeps all of them."""
    rules = BY_STATE.get(job.get("status", ""))
    if rules is None:
        return UNKNOWN
    for rule in rules:
        try:
            if not rule.holds(job):
                return rule.says
        except (KeyError, TypeError, ValueError, IndexError):
            return rule.says
    return None


# --- 2: every pending job is in its lane, or repair finds it -----------------------------------


class _Lines:
    """All lanes as they were read, and the pending jobs that are not in theirs."""

    def __init__(self, expected: Iterable[Lane]) -> None:
        self.read = 0
        self.doubled = 0
        self.ids: dict[Lane, set[bytes]] = {lane: self._ids(lane) for lane in expected}
        self.pending = 0
        self.out: dict[ObjectId, Lane] = {}
        self.unfindable: set[ObjectId] = set()

    def _ids(self, lane: Lane) -> set[bytes]:
        ids = set[bytes]()
        read = 0
        for piece in lanes.ids(lane):
            ids.update(piece)
            read += len(piece)
        self.read += read
        self.doubled += read - len(ids)
        return ids

    def compare(self, served: Collection[Lane]) -> None:
        """Take every pending job out of its lane's ids; what is left there is a stale hint."""
        horizon = mongodb.now() + AHEAD
        shared: dict[Lane, Lane] = {}  # one object a lane, however many jobs are out of it
        for job in _every_pending():
            self.pending += 1
            lane = Lane(job.get("queue", ""), job.get("priority", ""))
            ids = self.ids.get(lane)
            if ids and job["_id"].binary in ids:
                ids.remove(job["_id"].binary)
                continue
            self.out[job["_id"]] = shared.setdefault(lane, lane)
            if lane not in served or not _in_time(job, horizon):
                self.unfindable.add(job["_id"])

    def elsewhere(self) -> set[ObjectId]:
        """Return the jobs that are out of their own lane, but in another."""
        left = [ids for ids in self.ids.values() if ids]
        return {id for id in self.out if any(id.binary in ids for ids in left)}

    def stale(self) -> int:
        """Return how many ids are, even now, in a lane whose job is not pending."""
        left = {lane: ids & _present(lane, ids) for lane, ids in self.ids.items() if ids}
        ids = [ObjectId(id) for ids in left.values() for id in ids]
        return len(ids) - len(_pending(ids))


def _in_line(totals: Totals) -> tuple[Check, Hints]:
    served = set(lanes.in_order(list(repository.queues())))
    lines = _Lines(served | totals.pending.keys())
    lines.compare(served)
    out = _confirmed(lines.out, _still_out, PAUSES[:1])
    suspects = {id: lane for id, lane in out.items() if id in lines.unfindable}
    unfindable = _confirmed(suspects, _still_out)
    suspects = {id: out[id] for id in lines.elsewhere() if id in out}
    elsewhere = _confirmed(suspects, _still_out).keys() - unfindable.keys()
    rest = out.keys() - unfindable.keys() - elsewhere
    stalled = rest & _stalled(served) if rest else set[ObjectId]()
    faults = [
        *_finding(UNFINDABLE, unfindable),
        *_finding(ELSEWHERE, elsewhere),
        *_finding(STALLED, stalled),
    ]
    check = Check("pending: in its lane", lines.pending, _finding(REPAIRED, rest - stalled), faults)
    return check, Hints(lines.read, lines.stale(), lines.doubled, len(elsewhere))


REPAIRED = (
    "In no lane at this moment: on the way there, or put back by repair before their turn comes. "
    "`manage.py repair` hurries."
)
UNFINDABLE = (
    "In no lane, and repair will not find them: their queue is not known (`manage.py runworkers "
    "--queues NAME` makes it so), or their priority or enqueued_at makes no sense (cancel them)."
)
ELSEWHERE = (
    "Only in the lane of another queue or priority, where they run out of order: this program does "
    "not put them there, so look for who else writes to this Redis."
)
STALLED = (
    "First in line but in no lane, although a steward is live that should have put them back: "
    "read its log, and run `manage.py repair`."
)


def _every_pending() -> Iterator[Document]:
    piece = sweeps.pending_before(None, PIECE)
    while piece:
        yield from piece
        piece = sweeps.pending_before(piece[-1]["_id"], PIECE)


def _in_time(job: Document, horizon: datetime) -> bool:
    """Return whether repair finds the job by its time, once everything before it is taken."""
    enqueued_at = job.get("enqueued_at")
    return isinstance(enqueued_at, datetime) and enqueued_at < horizon


def _still_out(suspects: Mapping[ObjectId, Lane]) -> dict[ObjectId, Lane]:
    by_lane: dict[Lane, set[bytes]] = defaultdict(set)
    for id, lane in suspects.items():
        by_lane[lane].add(id.binary)
    still = {lane: ids - _present(lane, ids) for lane, ids in by_lane.items()}
    out = {ObjectId(id): lane for lane, ids in still.items() for id in ids}
    return {id: out[id] for id in _pending(out)}


def _present(lane: Lane, ids: set[bytes]) -> set[bytes]:
    """Return those of `ids` that are in a lane now."""
    return set(chain.from_iterable(ids.intersection(piece) for piece in lanes.ids(lane)))


def _pending(ids: Iterable[ObjectId]) -> list[ObjectId]:
    return [id for piece in _pieces(ids) for id in sweeps.pending_ids(piece)]


def _stalled(served: Iterable[Lane]) -> set[ObjectId]:
    """Return the jobs that a live steward should have put back by now, but did not.

    It repairs every second; after a leader's death another one takes half of this time to notice.
    """
    if not _somebody_is_live():
        return set()
    return _confirmed(
        _lost(served), lambda ids: ids & _lost(served) if _may_repair() else set(), REPAIR_PAUSES
    )


def _lost(served: Iterable[Lane]) -> set[ObjectId]:
    """Return the first few jobs of each lane that repair would put back now."""
    lost = set()
    for lane in served:
        if before := services.lost_before(lane):
            lost |= {hint.id for hint in repository.oldest_pending(lane, before, EXAMPLES)}
    return lost


def _may_repair() -> bool:
    """Return whether a steward has no excuse: it promotes all that is due before it repairs."""
    due, _ = sweeps.overdue(0, 1)
    return not due and _somebody_is_live()


def _somebody_is_live() -> bool:
    return bool(repository.live_supervisors(settings.WORKER_LOST_SECONDS))


# --- 3: every running job is held by a live worker ---------------------------------------------


def _held(totals: Totals) -> Check:
    stays = _confirmed(_abandoned(), lambda ids: ids & _abandoned(), _past_a_heartbeat())
    live = _somebody_is_live()
    return Check(
        "running: held by a live worker",
        totals.by_status.get(State.RUNNING, 0),
        _finding(REAPED, stays) if live else [],
        _finding(STUCK, stays) if not live else [],
    )


REAPED = "Their worker is lost; the steward is about to take them back, and charges each a crash."
STUCK = (
    "Their worker is lost, and no steward is live to take them back: start `manage.py runworkers`, "
    "or `manage.py audit --repair` takes them back now."
)


def _abandoned() -> set[ObjectId]:
    """Return the jobs whose worker has been silent for too long."""
    return set(sweeps.held_ids(repository.lost_holders(settings.WORKER_LOST_SECONDS)))


# --- 4: what is due is promoted ----------------------------------------------------------------


def _due(totals: Totals) -> Check:
    _, oldest = sweeps.overdue(OVERDUE_SECONDS, EXAMPLES)
    # The longest due goes first: while it changes, promotion is only behind.
    stays = _confirmed(oldest, _still_oldest, _past_a_heartbeat())
    late, _ = sweeps.overdue(OVERDUE_SECONDS, EXAMPLES) if oldest else (0, [])
    stuck = bool(stays) and _somebody_is_live()
    found = [Finding(late, UNPROMOTED if stuck else LATE, [str(id) for id in stays])]
    return Check(
        "scheduled, retrying: promoted when due",
        sum(totals.by_status.get(state, 0) for state in WAITING),
        found if late and not stuck else [],
        found if late and stuck else [],
    )


UNPROMOTED = (
    "Promotion is not happening, although a steward is live: read its log (`steward.waiting`); "
    "`manage.py audit --repair` promotes what is due."
)
LATE = "Due, and not promoted yet: promotion is behind, or no `manage.py runworkers` runs."


def _still_oldest(ids: Sequence[ObjectId]) -> list[ObjectId]:
    _, oldest = sweeps.overdue(OVERDUE_SECONDS, EXAMPLES)
    return [id for id in oldest if id in ids]


# --- 5: the counters that are shown are true ---------------------------------------------------


def _counters() -> Check:
    off = counting.miscounted()
    shown = [
        f"{lane.queue}/{lane.priority}: {column} off by {jobs:+d}"
        for (lane, column), jobs in sorted(off.items())
    ]
    lanes_known = len(lanes.in_order(list(repository.queues())))
    return Check(
        "counters: as in MongoDB",
        lanes_known * len(set(COLUMN.values())),
        [],
        [Finding(len(off), UNTRUE, shown[:EXAMPLES])] if off else [],
    )


UNTRUE = (
    "The pages, the API and /metrics show other numbers than there are jobs; no job is concerned. "
    "Something else wrote to the collection, or an older version runs beside this one; "
    "`manage.py audit --repair` puts them right."
)
