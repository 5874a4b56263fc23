"""Once a minute, how many jobs there are: nothing else knows what the totals were a while ago.

Stewards take them. Who finds that a minute has its sample leaves it alone, so several do no harm.
A minute in which nothing has changed has none: an idle queue writes nothing.
"""

from collections import Counter
from contextlib import suppress
from datetime import datetime

from pymongo import DESCENDING
from pymongo.errors import DuplicateKeyError

from jobs import counting
from jobs.clients import Document, collection
from jobs.mongodb import clock, durable
from jobs.tallies import minute_of

NEWEST = [("_id", DESCENDING)]


@durable
def take() -> bool:
    """Write down the totals of this minute. `False`: they are, or they are those of the last."""
    minute = minute_of(clock.now())
    last = collection("samples").find_one(sort=NEWEST) or {"_id": None}
    if last["_id"] == minute:
        return False
    totals = counting.totals()
    pending = Counter[str]()
    for lane, jobs in totals.pending.items():
        pending[lane.queue] += jobs
    counts = {"by_status": totals.by_status, "pending": dict(pending)}
    if all(last.get(name) == jobs for name, jobs in counts.items()):
        return False
    with suppress(DuplicateKeyError):
        collection("samples").insert_one({"_id": minute, "at": clock.now(), **counts})
    return True


@durable
def since(minute: datetime) -> list[Document]:
    """Return the samples taken from then on, the oldest first, after the last one before."""
    samples = collection("samples")
    before = samples.find({"_id": {"$lt": minute}}).sort(NEWEST).limit(1)
    return [*before, *samples.find({"_id": {"$gte": minute}}).sort("_id")]
