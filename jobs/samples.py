"""Once a minute, how many jobs there are: nothing else knows what the totals were a while ago.

The steward that leads says it with its report, which so costs no write of its own. The report has
the samples of the last minutes, each at the place of its minute.
"""

from collections import Counter
from datetime import datetime

from jobs import counting
from jobs.clients import Document, collection
from jobs.mongodb import clock, durable
from jobs.tallies import minute_of

KEPT = 20  # minutes


@durable
def take(last: datetime | None) -> Document | None:
    """Return how many jobs there are; `None`: the last sample is of this very minute."""
    at = clock.now()
    if last and minute_of(last) == minute_of(at):
        return None
    totals = counting.totals()
    pending = Counter[str]()
    for lane, jobs in totals.pending.items():
        pending[lane.queue] += jobs
    return {"at": at, "by_status": totals.by_status, "pending": dict(pending)}


def place(sample: Document) -> str:
    """Return the field of a report that has a sample."""
    return f"samples.{sample['at'].timestamp() // 60 % KEPT:.0f}"


@durable
def since(moment: datetime) -> list[Document]:
    """Return the samples taken from then on, the oldest first: one a minute, whoever leads."""
    reports = collection("stewards").find({"at": {"$gte": moment}}, {"samples": 1})
    taken = {
        minute_of(sample["at"]): sample
        for report in reports
        for sample in (report.get("samples") or {}).values()
        if sample["at"] >= moment
    }
    return [taken[minute] for minute in sorted(taken)]
