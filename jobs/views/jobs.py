"""Jobs: the list."""

from dataclasses import asdict

from django.http import HttpResponse

from jobs import registry, selectors
from jobs.errors import FieldError, InvalidRequest
from jobs.selectors import JobFilter
from jobs.states import State
from jobs.views.door import Request, live, page

FILTERS = ("status", "type", "queue", "priority", "q")


@page("view")
def jobs(request: Request) -> HttpResponse:
    return listed(request, "jobs", _chosen(request))


def _chosen(request: Request) -> JobFilter:
    given = {name: request.GET.get(name, "").strip() for name in FILTERS}
    return JobFilter(**given)  # type: ignore[arg-type]  # none of these is a date


def listed(request: Request, name: str, chosen: JobFilter) -> HttpResponse:
    """Answer with a page of the jobs that match."""
    cursor = request.GET.get("cursor", "")
    found, newer, faults = _found(chosen, cursor)
    context = {
        "chosen": asdict(chosen),
        "filtered": any(asdict(chosen).values()),
        "page": found,
        "newer": newer,
        "cursor": cursor,
        "faults": faults,
        "states": list(State),
        "priorities": registry.PRIORITIES,
        "types": [job_type.name for job_type in selectors.job_types()],
        "queues": [queue.name for queue in selectors.queues()],
    }
    # A later page stays as it was read: only the first one shows what arrives.
    status = 400 if faults else 200
    return live(request, name, context, polls=not cursor and not faults, status=status)


def _found(
    chosen: JobFilter, cursor: str
) -> tuple[selectors.Page, str | None, tuple[FieldError, ...]]:
    try:
        found = selectors.jobs(chosen, cursor=cursor)
        newer = selectors.newer_cursor(chosen, found) if cursor else None
    except InvalidRequest as error:
        return selectors.Page([], None), None, error.errors
    return found, newer, ()
