"""Every verb against every state, on MongoDB: a job moves exactly where the table allows."""

from collections.abc import Callable
from typing import Any

import pytest
from bson import Timestamp
from pymongo.client_session import ClientSession

from jobs import lanes, repository, services
from jobs.claims import ClaimedJob, End
from jobs.clients import collection, mongo
from jobs.errors import IllegalMove
from jobs.states import MOVES, State
from tests.services.conftest import WORKER, in_state, stored


def end(job: ClaimedJob, status: State) -> End:
    return End(job=job, status=status, outcome="completed", delay_seconds=9)


def recording(status: State) -> Callable[[ClaimedJob], object]:
    return lambda job: services.record(WORKER, [end(job, status)])


# A verb, where it leads, and which of the sources of that state are its own.
VERBS: dict[str, tuple[Callable[[ClaimedJob], object], State, set[State]]] = {
    "claim": (lambda job: repository.claim([job.id], WORKER), State.RUNNING, set(State)),
    "complete": (recording(State.COMPLETED), State.COMPLETED, set(State)),
    "retry": (recording(State.RETRYING), State.RETRYING, set(State)),
    "die": (recording(State.DEAD), State.DEAD, set(State)),
    "crash": (recording(State.PENDING), State.PENDING, {State.RUNNING}),
    "give_back": (lambda job: services.give_back(WORKER), State.PENDING, {State.RUNNING}),
    "promote": (lambda job: services.promote(), State.PENDING, {State.SCHEDULED, State.RETRYING}),
    "requeue": (
        lambda job: services.requeue(str(job.id), actor="test"),
        State.PENDING,
        {State.DEAD, State.CANCELLED},
    ),
    "cancel": (
        lambda job: services.cancel(str(job.id), actor="test"),
        State.CANCELLED,
        set(State),
    ),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_moves_a_job_from_its_own_sources_and_leaves_every_other_alone(
    verb: str, state: State
) -> None:
    act, target, own = VERBS[verb]
    job = in_state(state)
    before = stored(job.id)
    allowed = target in MOVES[state] and state in own
    if verb in ("requeue", "cancel") and not allowed:
        with pytest.raises(IllegalMove, match=state):
            act(job)
    else:
        act(job)
    assert stored(job.id)["status"] == (target if allowed else state)
    if not allowed:
        assert stored(job.id) == before


def test_every_legal_move_has_a_verb() -> None:
    covered = {
        (source, target)
        for _, target, own in VERBS.values()
        for source in own
        if target in MOVES[source]
    }
    assert covered == {(source, target) for source in State for target in MOVES[source]}


def test_lanes_serve_every_high_lane_before_any_medium_one() -> None:
    order = [(lane.priority, lane.queue) for lane in lanes.in_order(["a", "b"])]
    assert order == [(p, q) for p in ("high", "medium", "low") for q in ("a", "b")]


def test_a_move_waits_until_it_sees_what_was_read_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # While others write, a transaction's snapshot may be older than what a plain read returned.
    job = in_state(State.DEAD)
    with mongo().client.start_session() as reader:
        assert collection("jobs").find_one({"_id": job.id}, session=reader)
        waits_for: list[Timestamp | None] = []
        begin = ClientSession.with_transaction

        def begun(session: ClientSession, *args: Any, **options: Any) -> Any:
            waits_for.append(session.operation_time)
            return begin(session, *args, **options)

        monkeypatch.setattr(ClientSession, "with_transaction", begun)
        services.requeue(str(job.id), actor="test")
        assert waits_for[0] is not None
        assert waits_for[0] >= reader.operation_time
