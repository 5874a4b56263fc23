"""Once a minute, how many jobs there are: nothing else knows what the totals were a while ago.

Stewards take them. Who finds that a minute has its sample leaves it alone, so several do no harm.
"""

from collections import Counter
from contextlib import suppress
from datetime import datetime

from pymongo.errors import DuplicateKeyError

from jobs import counting
from jobs.clients import Document, collection
from jobs.mongodb import clock, durable
from jobs.tallies import minute_of


@durable
def take() -> bool:
    """Write down the totals of this minute. `False`: they are written down."""
    minute = minute_of(clock.now())
    if collection("samples").find_one({"_id": minute}, {"_id": 1}):
        return False
    totals = counting.totals()
    pending = Counter[str]()
    for lane, jobs in totals.pending.items():
        pending[lane.queue] += jobs
    sample = {"at": clock.now(), "by_status": totals.by_status, "pending": dict(pending)}
    with suppress(DuplicateKeyError):
        collection("samples").insert_one({"_id": minute, **sample})
    return True


@durable
def since(moment: datetime) -> list[Document]:
    """Return the samples taken from then on, the oldest first."""
    return list(collection("samples").find({"_id": {"$gte": moment}}).sort("_id"))
