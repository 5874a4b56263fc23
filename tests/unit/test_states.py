from pathlib import Path

import pytest

from jobs.states import INITIAL, MOVES, State, diagram, sources

# Written by hand, a row a state, a column a target, in the order of the enum: a second opinion.
#                 sched pend run retry compl dead cancel
TABLE = {
    "scheduled": [0, 1, 0, 0, 0, 0, 1],
    "pending": [0, 0, 1, 0, 0, 0, 1],
    "running": [0, 1, 0, 1, 1, 1, 1],
    "retrying": [0, 1, 0, 0, 0, 0, 1],
    "completed": [0, 0, 0, 0, 0, 0, 0],
    "dead": [0, 1, 0, 0, 0, 0, 1],
    "cancelled": [0, 1, 0, 0, 0, 0, 0],
}


@pytest.mark.parametrize("source", State)
@pytest.mark.parametrize("target", State)
def test_each_of_the_49_moves_is_legal_or_not_as_designed(source: State, target: State) -> None:
    legal = bool(TABLE[source][list(State).index(target)])
    assert (target in MOVES[source]) is legal
    assert (source in sources(target)) is legal


def test_every_state_can_be_reached_and_no_state_but_completed_is_a_trap() -> None:
    reached = set(INITIAL)
    while more := {target for state in reached for target in MOVES[state]} - reached:
        reached |= more
    assert reached == set(State)
    assert [state for state in State if not MOVES[state]] == [State.COMPLETED]


def test_the_architecture_document_shows_the_diagram_that_the_table_gives() -> None:
    document = Path(__file__).parents[2] / "docs" / "architecture.md"
    assert diagram() in document.read_text()
