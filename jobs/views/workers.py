"""Workers, by their `runworkers`: how they are, and having them be quiet, resume or stop."""

from django.http import Http404, HttpResponse

from jobs import selectors, services, supervisors, versions
from jobs.errors import InvalidRequest
from jobs.selectors import WorkerView
from jobs.views.door import READ, Request, act, live, page, shell

ENDED_ROWS = 50


@page("view")
def workers(request: Request) -> HttpResponse:
    views = selectors.workers()
    ended = [view for view in views if view.state == "ended"]
    context = {
        "supervisors": supervisors.supervisors(views, selectors.held_jobs()),
        "ended": ended[: -ENDED_ROWS - 1 : -1],
        "ended_more": max(len(ended) - ENDED_ROWS, 0),
        "version": versions.own(),
    }
    return live(request, "workers", context)


@page("control_worker", ("POST",))
def workers_quiet(request: Request, id: str) -> HttpResponse:
    said = "It will take no new job, within about three seconds; what runs goes on."
    return _ask(request, id, "quiet", said)


@page("control_worker", ("POST",))
def workers_resume(request: Request, id: str) -> HttpResponse:
    return _ask(request, id, "resume", "It will take jobs again, within about three seconds.")


@page("control_worker", (*READ, "POST"))
def workers_stop(request: Request, id: str) -> HttpResponse:
    """Ask first: nothing starts it again but whoever started it."""
    if request.method in READ:
        view = _worker(id)
        siblings = supervisors.supervisors(selectors.workers(ended=False), {})
        of = [each for each in siblings if each.first.supervisor == view.worker.supervisor]
        return shell(request, "workers_stop", {"view": view, "of": of[0] if of else None})
    said = "It was asked to stop: what runs may end, the rest is given back."
    return _ask(request, id, "stop", said)


def _worker(id: str) -> WorkerView:
    try:
        return selectors.worker(id)
    except InvalidRequest as error:
        raise Http404(str(error)) from error


def _ask(request: Request, id: str, what: services.Ask, said: str) -> HttpResponse:
    def change() -> str:
        services.ask_workers(id, what, actor=request.user.get_username())
        return said

    return act(request, change, "workers")
