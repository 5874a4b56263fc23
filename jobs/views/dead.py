"""Dead letters: by what they died of, and one by one."""

from dataclasses import dataclass
from functools import cache

from django.http import Http404, HttpResponse
from django.shortcuts import resolve_url

from jobs import letters, query, rows, selectors, services
from jobs.letters import DeadGroup
from jobs.query import Term
from jobs.selectors import JobFilter
from jobs.states import State
from jobs.views.door import Request, act, live, page
from jobs.views.job_list import actions, listed

BAR, HEIGHT = 4, 20  # of a sparkline: what an hour takes, and the most that died in one


@page("view")
def dead(request: Request) -> HttpResponse:
    chosen = {name: request.GET.get(name, "").strip() for name in ("type", "queue")}
    narrowed = JobFilter(status=State.DEAD, type=chosen["type"], queue=chosen["queue"])
    found = listed(request, narrowed, fields=rows.LETTER)
    grouped = letters.dead_groups(**chosen) if not found["faults"] else None
    context = {
        **found,
        "chosen": chosen,
        "groups": list(map(_drawn, grouped.groups)) if grouped else [],
        "complete": grouped is None or grouped.complete,
        "grouped": letters.GROUPED,
        "text": _text(**chosen),
        "actions": actions(request, State.DEAD),
        "types": [job_type.name for job_type in selectors.job_types()],
        # Outside of the live part: asked for only when the whole page is.
        "queues": cache(lambda: [queue.name for queue in selectors.queues()]),
    }
    status = 400 if found["faults"] else 200
    # The groups show on the first page alone.
    return live(request, "dead", context, polls=found["polls"], status=status)


@page("view")
def dead_group(request: Request, alike: str) -> HttpResponse:
    """One group, and its letters."""
    grouped = letters.dead_group(_fingerprint(alike))
    (group,) = grouped.groups
    text = _text(fingerprint=alike)
    found = listed(request, JobFilter(query=text), fields=rows.LETTER)
    context = {
        **found,
        "chosen": {},
        "drawn": _drawn(group),
        "group": group,
        "complete": grouped.complete,
        "text": text,
        "actions": actions(request, State.DEAD),
        "note_most": services.NOTE_MOST,
    }
    return live(request, "dead_group", context, polls=found["polls"])


def _fingerprint(alike: str) -> str:
    if not query.KINDS["fingerprint"].takes(alike):
        raise Http404("A group of dead letters has a fingerprint of 16 hexadecimal digits.")
    return alike


def _text(**chosen: str) -> str:
    named = {"state": State.DEAD.value, **chosen}
    return query.printed(Term(name, value) for name, value in named.items() if value)


@dataclass(frozen=True)
class Bar:
    """How many died in an hour, drawn: from the left and from above."""

    x: int
    y: int
    height: int


@dataclass(frozen=True)
class Drawn:
    """A group with its sparkline; `day`: how many died within 24 hours."""

    group: DeadGroup
    bars: list[Bar]
    day: int


def _drawn(group: DeadGroup) -> Drawn:
    most = max(group.hours) or 1
    heights = [-(-HEIGHT * hour // most) for hour in group.hours]
    bars = [Bar(BAR * place, HEIGHT - each, each) for place, each in enumerate(heights) if each]
    return Drawn(group, bars, sum(group.hours))


@page("retry", ("POST",))
def dead_note(request: Request, alike: str) -> HttpResponse:
    def change() -> str:
        text = request.POST.get("note", "")
        services.note_group(_fingerprint(alike), text, actor=request.user.get_username())
        return "The note is saved." if text.strip() else "The note is deleted."

    return act(request, change, resolve_url("dead_group", alike=alike))
