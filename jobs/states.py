"""The seven states of a job and every legal move between them: the only source of both.

The guards of the MongoDB writes, the diagram in the docs and the exhaustive test are derived
from `MOVES`, so an illegal move cannot be written down anywhere else.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal


class State(StrEnum):
    """Each name finishes the sentence "this job is …"."""

    SCHEDULED = "scheduled"  # waits for its run_at
    PENDING = "pending"  # may be claimed by any worker
    RUNNING = "running"  # is held by one worker under one claim
    RETRYING = "retrying"  # failed and waits out its backoff
    COMPLETED = "completed"  # ended well
    DEAD = "dead"  # is out of attempts or crashes: the dead-letter queue
    CANCELLED = "cancelled"  # was stopped by a person or by code


MOVES: dict[State, frozenset[State]] = {
    State.SCHEDULED: frozenset({State.PENDING, State.CANCELLED}),
    State.PENDING: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset(
        {State.COMPLETED, State.RETRYING, State.DEAD, State.CANCELLED, State.PENDING}
    ),
    State.RETRYING: frozenset({State.PENDING, State.CANCELLED}),
    State.COMPLETED: frozenset(),
    State.DEAD: frozenset({State.PENDING, State.CANCELLED}),
    State.CANCELLED: frozenset({State.PENDING}),
}
INITIAL = (State.SCHEDULED, State.PENDING)
WAITING = (State.SCHEDULED, State.RETRYING)  # for a time that MongoDB keeps
REQUEUEABLE = (State.DEAD, State.CANCELLED)
ENDED = (State.COMPLETED, State.DEAD, State.CANCELLED)  # nothing happens to it by itself


def sources(target: State) -> list[State]:
    """Return the states from which `target` may be entered, in the order of the enum."""
    return [state for state in State if target in MOVES[state]]


Action = Literal["requeue", "cancel", "delete"]  # what people do to many jobs at once
ALLOWED: dict[Action, Sequence[State]] = {
    "requeue": REQUEUEABLE,
    "cancel": sources(State.CANCELLED),
    "delete": ENDED,
}


def diagram() -> str:
    """Return the moves as a Mermaid state diagram; docs/architecture.md must contain it."""
    lines = ["stateDiagram-v2"]
    lines += [f"    [*] --> {state}" for state in INITIAL]
    lines += [f"    {a} --> {b}" for a in State for b in State if b in MOVES[a]]
    lines += [f"    {state} --> [*]" for state in State if not MOVES[state]]
    return "\n".join(lines)
