"""The audit's chain: whatever is done to its rows behind the program's back is found."""

import threading
from collections.abc import Callable

import pytest
from bson import ObjectId

from jobs import audit
from jobs.clients import collection
from jobs.models import AuditEntry

pytestmark = pytest.mark.usefixtures("stores")


def written(count: int = 5) -> None:
    for number in range(count):
        audit.record("ann", "pause", f"queue-{number}", before={"paused": False})


def rows() -> list[int]:
    return [row["seq"] for row in collection("audit").find().sort("seq", 1)]


def altered() -> None:
    collection("audit").update_one({"seq": 3}, {"$set": {"actor": "bob"}})


def deleted() -> None:
    collection("audit").delete_one({"seq": 3})


def reordered() -> None:
    second, third = (collection("audit").find_one({"seq": seq}) or {} for seq in (2, 3))
    for row, content in ((second, third), (third, second)):
        same = {**content, "_id": row["_id"], "seq": row["seq"], "hash": row["hash"]}
        collection("audit").replace_one({"_id": row["_id"]}, same)


def inserted() -> None:
    row = collection("audit").find_one({"seq": 3}) or {}
    collection("audit").update_many(
        {"seq": {"$gte": 4}}, [{"$set": {"seq": {"$add": ["$seq", 9]}}}]
    )
    collection("audit").insert_one({**row, "_id": ObjectId(), "seq": 4})


def inserted_without_a_number() -> None:
    row = collection("audit").find_one({"seq": 3}, {"seq": 0}) or {}
    collection("audit").insert_one({**row, "_id": ObjectId()})


def tail_cut_off() -> None:
    collection("audit").delete_many({"seq": {"$gte": 4}})


def everything_deleted() -> None:
    collection("audit").delete_many({})


def tail_and_head_deleted() -> None:
    tail_cut_off()
    collection("audit_head").delete_one({"_id": "last"})


def genesis_altered() -> None:
    collection("audit_head").update_one({"_id": "genesis"}, {"$set": {"earlier": 7}})


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (altered, "Row 3 "),
        (deleted, "Row 3 is missing"),
        (reordered, "Row 2 "),
        (inserted, "Row 4 "),
        (inserted_without_a_number, "unchained"),
        (tail_cut_off, "ends at row 3"),
        (everything_deleted, "ends at row 0"),
        (tail_and_head_deleted, "head was deleted when row 3"),
        (genesis_altered, "genesis"),
    ],
)
def test_what_was_done_to_the_rows_is_found(tamper: Callable[[], None], said: str) -> None:
    written()
    assert audit.verify().fault == ""
    tamper()
    assert said in audit.verify().fault


def test_a_tampered_chain_goes_on_and_stays_at_fault() -> None:
    written()
    tail_and_head_deleted()
    written()
    assert rows() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert "row 3" in audit.verify().fault


def test_a_chain_that_was_written_anew_is_unlike_the_log() -> None:
    written()
    logged = (collection("audit").find_one({"seq": 4}) or {})["hash"]
    assert audit.verify(seq=4, said=logged).fault == ""
    for name in ("audit", "audit_head"):
        collection(name).delete_many({})
    written()
    assert audit.verify().fault == ""
    assert "another hash" in audit.verify(seq=4, said=logged).fault
    assert "cut off" in audit.verify(seq=9, said=logged).fault


def test_entries_of_an_older_version_are_in_the_genesis_record() -> None:
    old = {"at": None, "actor": "eve", "action": "cancel", "target": "x", "detail": ""}
    collection("audit").insert_one(old)
    written(2)
    assert audit.verify().fault == ""
    collection("audit").update_one({"actor": "eve"}, {"$set": {"actor": "ann"}})
    assert "before the chain" in audit.verify().fault


def test_many_threads_append_to_one_chain() -> None:
    threads = [threading.Thread(target=written, args=(10,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows() == list(range(1, 81))
    assert audit.verify() == audit.Verdict(80, audit.verify().head, "")


def test_appenders_that_share_nothing_have_one_chain_too() -> None:
    def append() -> None:
        for _ in range(5):
            audit._chained([{"_id": ObjectId(), "at": None, "actor": "ann"}])

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows() == list(range(1, 21))
    assert audit.verify().fault == ""


def test_an_append_whose_reply_was_lost_is_not_doubled() -> None:
    row = {"_id": ObjectId(), "at": None, "actor": "ann"}
    audit._chained([row])
    audit._chained([row])
    assert rows() == [1]
    assert audit.verify().fault == ""


def test_the_model_neither_saves_nor_deletes() -> None:
    written(1)
    entry = AuditEntry.objects.get()
    for change in (entry.save, entry.delete):
        with pytest.raises(TypeError, match="Audit entries"):
            change()
