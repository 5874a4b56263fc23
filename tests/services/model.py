"""What a job may do, in plain Python: the yardstick that the state machine holds the queue to.

It is written from the design's words, not from the code it judges. It touches no store.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bson import ObjectId
from django.conf import settings

from jobs.claims import ClaimedJob, End
from jobs.states import INITIAL, MOVES, REQUEUEABLE, WAITING, State, sources

IDENTITY = ("type", "payload", "priority", "queue", "max_attempts", "tags", "created_at")
CHARGED = {"completed": (1, 0), "failed": (1, 0), "timed_out": (1, 0), "crashed": (0, 1)}
CHARGED["lost"] = CHARGED["crashed"]  # (attempts, crashes) used up by an execution's outcome
CLOCKS_DIFFER = timedelta(milliseconds=100)  # MongoDB's clock and what a client makes of it


@dataclass(frozen=True, eq=False)
class Held:
    """A claim that a worker was given. It is never forgotten: late ends come from old ones."""

    worker: ObjectId
    job: ClaimedJob


@dataclass(frozen=True)
class Recorded:
    """An end that somebody wrote, so that it may be written again: the reply was lost."""

    worker: ObjectId
    end: End


@dataclass
class Expected:
    """One job as MongoDB must hold it."""

    status: State
    max_attempts: int
    attempt: int = 0
    crashes: int = 0
    claim: int = 0
    worker: ObjectId | None = None
    due: bool = False  # while it waits for a time: whether that time has come
    new_place: bool = True  # it went to the end of its line in this step
    changed: bool = True  # in this step
    ends: dict[int, tuple[str, Recorded | None]] = field(default_factory=dict)  # by claim

    def holds(self, worker: ObjectId, claim: int) -> bool:
        """Return whether the job is `worker`'s, under that claim, at this moment."""
        return self.status is State.RUNNING and (self.worker, self.claim) == (worker, claim)

    @property
    def can_be_claimed(self) -> bool:
        return self.status is State.PENDING

    @property
    def can_be_cancelled(self) -> bool:
        return self.status in sources(State.CANCELLED)

    @property
    def can_be_requeued(self) -> bool:
        return self.status in REQUEUEABLE

    @property
    def waits(self) -> bool:
        return self.status in WAITING

    def claimed(self, worker: ObjectId) -> None:
        self._move(State.RUNNING)
        self.claim += 1
        self.worker = worker

    def given_back(self) -> None:
        self._move(State.PENDING)

    def cancelled(self) -> None:
        self._move(State.CANCELLED)

    def promoted(self) -> None:
        self._move(State.PENDING)
        self.new_place = True

    def requeued(self) -> None:
        self._move(State.PENDING)
        self.new_place = True
        self.attempt = self.crashes = 0

    def ended(
        self, outcome: str, recorded: Recorded | None = None, *, shared: bool = False
    ) -> None:
        assert self.claim not in self.ends
        self.ends[self.claim] = (outcome, recorded)
        attempts, crashes = CHARGED[outcome]
        self.attempt += attempts
        self.crashes += crashes
        self._move(self._after(outcome, shared))
        self.due = False

    def _after(self, outcome: str, shared: bool) -> State:
        if outcome == "completed":
            return State.COMPLETED
        if CHARGED[outcome] == CHARGED["crashed"]:
            if self.crashes >= settings.JOB_MAX_CRASHES:
                return State.DEAD
            return State.RETRYING if shared and self.crashes > 1 else State.PENDING
        return State.DEAD if self.attempt >= self.max_attempts else State.RETRYING

    def _move(self, target: State) -> None:
        assert target in MOVES[self.status]
        self.status = target
        self.changed = True

    def agrees_with(self, document: dict[str, Any], kept: int) -> None:
        """Check a stored job, field by field."""
        stored = {name: document[name] for name in ("status", "attempt", "crashes", "claim")}
        assert stored == {name: getattr(self, name) for name in stored}
        assert document["worker"] == self.worker
        entries = [(entry["claim"], entry["outcome"]) for entry in document["attempts"]]
        assert entries == [(claim, outcome) for claim, (outcome, _) in self.ends.items()][-kept:]
        assert (document["run_at"] is not None) == self.waits
        final = self.status in (State.COMPLETED, State.DEAD, State.CANCELLED)
        assert (document["finished_at"] is not None) == final
        kept_for_ever = self.status not in (State.COMPLETED, State.CANCELLED)
        assert (document["expire_at"] is None) == kept_for_ever


def check_new(document: dict[str, Any]) -> None:
    """Check what holds for a job that was seen for the first time."""
    assert document["status"] in INITIAL
    assert document["claim"] == 0


def check_step(before: dict[str, Any], after: dict[str, Any], *, new_place: bool) -> None:
    """Check what holds between two sights of one job, whatever happened in between."""
    check_state(after)
    source, target = State(before["status"]), State(after["status"])
    assert source is target or target in MOVES[source], f"{source} became {target}"
    assert all(after[name] == before[name] for name in IDENTITY)
    assert after["claim"] - before["claim"] == (target is State.RUNNING is not source)
    moved: timedelta = after["enqueued_at"] - before["enqueued_at"]
    assert moved >= -CLOCKS_DIFFER if new_place else not moved


def check_state(document: dict[str, Any]) -> None:
    """Check what holds for one job at every moment."""
    assert document["status"] in list(State)
    assert 0 <= document["attempt"] <= document["max_attempts"]
    assert 0 <= document["crashes"] <= settings.JOB_MAX_CRASHES
    claims = [entry["claim"] for entry in document["attempts"]]
    assert claims == sorted(set(claims)), f"one end a claim: {claims}"
    assert all(claim <= document["claim"] for claim in claims)
