"""Row 33 of the fault matrix: data that nobody should send."""

import pytest
from bson import ObjectId
from django.test import override_settings

from jobs import clients, lanes, services
from jobs.clients import collection
from jobs.errors import InvalidRequest, TooLarge
from tests.system.faults.tasks import ODD
from tests.system.faults.world import World

row = pytest.mark.row
FAILING = ("raise_nul", "raise_huge", "exit")
GARBAGE = ("", "x", "\x00", "6b", "z" * 24, "{}", "-1", "6" * 24, "ümläut", b"\xff", "a" * 100_000)


def refused(payload: dict[str, object], error: type[Exception], type: str = "odd") -> None:
    before = collection("jobs").count_documents({})
    with pytest.raises(error):
        services.enqueue(type, payload)
    assert collection("jobs").count_documents({}) == before


@row(
    33,
    "bad data",
    "unknown types, NUL, surrogates, NaN, 15.9 and 17 MB, garbage in the lanes",
    "L P 1 A S C, dead with a reason or refused; no worker dies",
    quick=True,
)
def test_bad_data(world: World) -> None:
    world.start()
    tree = world.tree("--processes", "2")
    workers = {child.pid for child in tree.children("taskqueue: worker")}
    refused({}, InvalidRequest, type="unknown")
    refused({"kind": "nul", "text": "\ud800"}, InvalidRequest)
    for size in (15_900_000, 17_000_000):
        refused({"kind": "nul", "text": "x" * size}, TooLarge)
    (nul,) = world.submit(type="odd", kind="nul", text="a\x00b")
    odd = {kind: world.submit(type="odd", kind=kind)[0] for kind in ODD}
    with override_settings(JOB_PAYLOAD_MAX_BYTES=15_000_000):
        (large,) = world.submit(type="odd", kind="big", text="x" * 14_900_000)
    unknown = orphan_type(world)
    for lane in lanes.in_order(["default"]):
        clients.redis().rpush(lanes.key(lane), *GARBAGE)
    world.settle()
    status = {str(job["_id"]): job["status"] for job in collection("jobs").find({}, {"status": 1})}
    dead = {unknown, *(odd[kind] for kind in FAILING)}
    assert {id for id in status if status[id] == "dead"} == dead
    assert status[nul] == status[large] == "completed"
    assert all(job["error"] for job in collection("jobs").find({"status": "dead"}))
    assert {child.pid for child in tree.children("taskqueue: worker")} == workers
    world.check(dead=frozenset(dead), unledgered=frozenset({unknown}), crashes=False)


def orphan_type(world: World) -> str:
    """Store a job of a type that no worker knows, as an old release may have left it."""
    (id,) = world.submit(delay=3600, max_attempts=1)
    collection("jobs").update_one({"_id": ObjectId(id)}, {"$set": {"type": "gone"}})
    due = {"$set": {"status": "pending", "run_at": None}}
    collection("jobs").update_one({"_id": ObjectId(id)}, due)
    return id
