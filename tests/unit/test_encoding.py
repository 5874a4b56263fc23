"""New jobs as BSON: what is put together from parts is what the driver would have written."""

import os
from typing import Any

import bson
import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from jobs import encoding
from jobs.encoding import UNCOUNTED, Beginning, NewJob
from jobs.registry import Lane
from jobs.states import State

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
WHOLE = st.integers(-(2**63), 2**63 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


@given(payload=VALUES)
def test_a_job_of_parts_is_the_document_that_the_driver_makes(payload: Any) -> None:
    id, begins = ObjectId(), {"type": "noop", "tags": ["a"], "worker": None}
    made = NewJob(
        id,
        Beginning("noop", Lane("default", "high"), State.PENDING, encoding.fields(begins)),
        encoding.fields({"payload": payload}),
    )
    whole = {"_id": id, **begins, "payload": payload}
    assert made.document().raw == bson.encode(whole)
    assert made.document(UNCOUNTED).raw == bson.encode({**whole, "uncounted": True})
    assert isinstance(made.document(), RawBSONDocument)


def test_ids_are_as_if_the_driver_had_made_them_in_a_row() -> None:
    before, many, after = ObjectId(), encoding.ids(1000), ObjectId()
    assert before < many[0]
    assert many == sorted(set(many))
    assert many[-1] < after
    assert {id.binary[4:9] for id in many} == {before.binary[4:9]}  # of this process


def test_ids_stay_unique_where_the_counter_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ObjectId, "_inc", encoding.COUNTED - 2)
    made = [*encoding.ids(4), ObjectId()]
    counters = [int.from_bytes(id.binary[9:]) for id in made]
    assert counters == [encoding.COUNTED - 1, 0, 1, 2, 3]


def test_a_forked_process_makes_other_ids() -> None:
    encoding.ids(1)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, encoding.ids(1)[0].binary)
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 12)[4:9] != encoding.ids(1)[0].binary[4:9]
    os.close(reading)
    os.close(writing)
