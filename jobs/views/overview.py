"""The overview: is all well, and where to look."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpResponse

from jobs import backlog, charts, rows, series
from jobs.backlog import Backlog, LaneState, QueueState
from jobs.counts import Stats
from jobs.rows import Row
from jobs.selectors import JobFilter
from jobs.series import Sample
from jobs.states import State
from jobs.views import graphs
from jobs.views.door import Request, live, page

NEWEST_ROWS = 10
DEAD_ROWS = 5


@dataclass(frozen=True)
class Health:
    """What the first sentence of the overview is made of."""

    live: int
    quiet: int  # of the live ones
    lost: int
    waiting: int
    late: list[LaneState]  # the furthest behind first
    unserved: list[QueueState]
    paused: list[QueueState]

    @property
    def untaken(self) -> bool:
        """Whether no worker takes a new job: none is live, or all are quiet."""
        return self.live == self.quiet

    @property
    def stalled(self) -> bool:
        return self.untaken and self.waiting > 0

    @property
    def well(self) -> bool:
        return not (self.untaken or self.lost or self.late or self.unserved or self.paused)


def _health(now: Backlog) -> Health:
    late = [lane for queue in now.queues for lane in queue.lanes if lane.late]
    return Health(
        live=sum(host.live for host in now.hosts),
        quiet=sum(host.quiet for host in now.hosts),
        lost=sum(host.lost for host in now.hosts),
        waiting=now.stats.by_status[State.PENDING],
        late=sorted(late, key=lambda lane: -lane.share),
        unserved=[queue for queue in now.queues if queue.unserved],
        paused=[queue for queue in now.queues if queue.queue.paused_at],
    )


@dataclass(frozen=True)
class Card:
    """One number, a small line of how it came to be, and by how much it changed since."""

    name: str  # of a state; "": of all
    figure: int
    path: str
    delta: int | None  # None: nobody looked a while ago
    minutes: int  # over which it changed


def _cards(stats: Stats, past: Sequence[Sample]) -> list[Card]:
    """Return the cards. The line says how it was in each of the last minutes, and is now."""
    minutes = round((stats.at - past[0].at).total_seconds() / 60) if past else 0
    counts = {"": (stats.total, [sum(sample.by_status.values()) for sample in past])}
    for state in State:
        earlier = [sample.by_status.get(state, 0) for sample in past]
        counts[state.value] = (stats.by_status[state], earlier)
    return [
        Card(
            name,
            figure,
            charts.sparkline([*earlier, figure]) if minutes else "",
            figure - earlier[0] if minutes else None,
            minutes,
        )
        for name, (figure, earlier) in counts.items()
    ]


def newest_dead(stats: Stats) -> list[Row]:
    """Return the newest dead letters; if the totals know of none, without a look.

    For that, MongoDB would pass by the index entries of what has just run, minutes long.
    """
    dead = JobFilter(status=State.DEAD)
    if not stats.by_status[State.DEAD]:
        return []
    return rows.rows(dead, size=DEAD_ROWS, fields=rows.SUMMARY).jobs


@page("view")
def overview(request: Request) -> HttpResponse:
    now, (minutes, errors) = backlog.read(), series.hour_and_errors()
    status = request.GET.get("status", "")
    context = {
        "health": _health(now),
        "cards": _cards(now.stats, now.samples),
        "queues": now.queues,
        "graphs": [graphs.throughput(minutes), graphs.waits(minutes), graphs.runs(minutes)],
        "errors": errors,
        "hosts": now.hosts,
        "recent": rows.rows(JobFilter(status=status), size=NEWEST_ROWS, fields=rows.SHORT).jobs,
        "status": status,
        "states": list(State),
        "dead": newest_dead(now.stats),
    }
    return live(request, "overview", context)
