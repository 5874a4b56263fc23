"""Queues, and pausing them."""

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpResponse

from jobs import selectors, services
from jobs.registry import Lane
from jobs.selectors import LaneDepth
from jobs.views.door import Request, act, live, page


@dataclass(frozen=True)
class Bar:
    """One lane as a bar; `width` is its share, in percent, of the deepest lane."""

    lane: Lane
    depth: int
    oldest: datetime | None
    paused: bool
    width: int


def bars(lanes: list[LaneDepth]) -> list[Bar]:
    """Return the lanes as bars."""
    deepest = max((lane.depth for lane in lanes), default=0) or 1
    return [
        Bar(lane.lane, lane.depth, lane.oldest, lane.paused, -(-100 * lane.depth // deepest))
        for lane in lanes
    ]


@page("view")
def queues(request: Request) -> HttpResponse:
    drawn = bars(selectors.stats().lanes)
    lanes = {
        queue: [bar for bar in drawn if bar.lane.queue == queue.name]
        for queue in selectors.queues()
    }
    return live(request, "queues", {"lanes": lanes})


@page("pause_queue", ("POST",))
def queue_pause(request: Request, name: str) -> HttpResponse:
    def change() -> str:
        services.pause(name, actor=request.user.get_username())
        return f"Queue {name} is paused: its jobs wait, those that run go on."

    return act(request, change, "queues")


@page("pause_queue", ("POST",))
def queue_resume(request: Request, name: str) -> HttpResponse:
    def change() -> str:
        services.resume(name, actor=request.user.get_username())
        return f"Queue {name} hands out its jobs again."

    return act(request, change, "queues")
