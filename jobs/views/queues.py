"""Queues: how far behind each is, and pausing them."""

from datetime import timedelta

from django.http import HttpResponse
from django.shortcuts import resolve_url

from jobs import backlog, selectors, series, services
from jobs.forms import PauseForm
from jobs.views import graphs
from jobs.views.door import READ, Request, act, live, page, shell, within


@page("view")
def queues(request: Request) -> HttpResponse:
    return live(request, "queues", {"queues": backlog.read().queues})


@page("view")
def queue(request: Request, name: str) -> HttpResponse:
    minutes = series.hour(name)
    context = {
        "queue": backlog.queue(name),
        "graphs": [graphs.throughput(minutes), graphs.waits(minutes), graphs.runs(minutes)],
    }
    return live(request, "queue", context)


@page("pause_queue", (*READ, "POST"))
def queue_pause(request: Request, name: str) -> HttpResponse:
    """Ask why, and until when: whoever finds the queue paused will want to know."""
    found = selectors.queue(name)
    form = PauseForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        back = within(request, request.GET.get("back", "")) or resolve_url("queue", name=name)
        context = {"queue": found, "form": form, "back": back}
        return shell(request, "pause", context, status=400 if form.errors else 200)
    seconds = form.cleaned_data["seconds"]
    until = selectors.now() + timedelta(seconds=seconds) if seconds else None

    def change() -> str:
        reason = form.cleaned_data["reason"]
        services.pause(name, actor=request.user.get_username(), reason=reason, until=until)
        return f"Queue {name} is paused: its jobs wait, those that run go on."

    return act(request, change, resolve_url("queue", name=name))


@page("pause_queue", ("POST",))
def queue_resume(request: Request, name: str) -> HttpResponse:
    def change() -> str:
        services.resume(name, actor=request.user.get_username())
        return f"Queue {name} hands out its jobs again."

    return act(request, change, "queues")
