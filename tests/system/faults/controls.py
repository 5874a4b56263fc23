"""Guards taken away on purpose, to see that the harness notices: never part of the product."""

from collections.abc import Callable, Sequence
from typing import Any

from bson import ObjectId

from jobs import counting, repository
from jobs.claims import End
from jobs.counting import Written


def unguarded_record() -> None:
    """Accept every end, whoever holds the job: what a queue without fencing does."""

    def record(worker: ObjectId, ends: Sequence[End]) -> tuple[list[End], Written]:
        receipt = ObjectId()
        whoever = {"_id": {"$in": [end.id for end in ends]}}
        ending = repository._ending(worker, ends, receipt)
        repository.collection("jobs").update_many(whoever, ending)
        return [], counting.changed_by(receipt, ends)

    repository.record = record


CONTROLS: dict[str, Callable[[], Any]] = {"unguarded_record": unguarded_record}


def install(name: str) -> None:
    """Take that guard away in this process."""
    CONTROLS[name]()
