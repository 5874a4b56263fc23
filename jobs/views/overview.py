"""The overview: is all well, and where to look."""

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpResponse

from jobs import selectors
from jobs.selectors import JobFilter, LaneDepth, Stats, WorkerView
from jobs.states import State
from jobs.views.door import Request, live, page
from jobs.views.queues import bars

NEWEST_ROWS = 10
DEAD_ROWS = 5


@dataclass(frozen=True)
class Health:
    """What the first sentence of the overview is made of."""

    live: int
    lost: int
    waiting: int
    oldest: LaneDepth | None  # the lane whose first job has waited longest
    paused: list[str]

    @property
    def stalled(self) -> bool:
        return self.live == 0 and self.waiting > 0


def _health(stats: Stats, workers: list[WorkerView]) -> Health:
    states = [view.state for view in workers]
    waiting = [lane for lane in stats.lanes if lane.oldest]
    return Health(
        live=states.count("live"),
        lost=states.count("lost"),
        waiting=stats.by_status[State.PENDING],
        oldest=min(waiting, key=_oldest, default=None),
        paused=sorted({lane.lane.queue for lane in stats.lanes if lane.paused}),
    )


def _oldest(lane: LaneDepth) -> datetime:
    if lane.oldest is None:
        raise ValueError("the lane is empty")
    return lane.oldest


@page("view")
def overview(request: Request) -> HttpResponse:
    stats = selectors.stats()
    workers = selectors.workers(ended=False)
    status = request.GET.get("status", "")
    recent = selectors.jobs(JobFilter(status=status), size=NEWEST_ROWS)
    dead = selectors.jobs(JobFilter(status=State.DEAD), size=DEAD_ROWS)
    context = {
        "health": _health(stats, workers),
        "bars": bars(stats.lanes),
        "workers": workers,
        "recent": recent.jobs,
        "status": status,
        "states": list(State),
        "dead": dead.jobs,
    }
    return live(request, "overview", context)
