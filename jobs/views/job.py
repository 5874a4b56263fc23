"""One job: what became of it, why it waits, and what may be done to it."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import resolve_url

from jobs import (
    links,
    rows,
    secrets,
    selectors,
    services,
    snippets,
    timeline,
    tracebacks,
    tree,
)
from jobs import (
    why as reasons,
)
from jobs.errors import InvalidRequest
from jobs.models import Attempt, Job
from jobs.states import ENDED, MOVES, REQUEUEABLE, WAITING, State, sources
from jobs.views.door import READ, Request, act, live, page, shell, within


@page("view")
def job(request: Request, id: str) -> HttpResponse:
    return _job_page(request, found(id))


@page("view_payload", ("POST",))
def job_reveal(request: Request, id: str) -> HttpResponse:
    """Show a job with its secrets, once: the page does not renew itself."""
    services.reveal(id, actor=request.user.get_username())
    return _job_page(request, selectors.job(id, reveal=True), revealed=True)


def _job_page(request: Request, job: Job, *, revealed: bool = False) -> HttpResponse:
    held_by = {attempt.worker for attempt in job.attempts} | ({job.worker} if job.worker else set())
    verbs = _verbs(State(job.status))
    site = request.build_absolute_uri("/").rstrip("/")
    waits = job.status in (State.PENDING, *WAITING)
    context = {
        "job": job,
        "why": reasons.why(job) if waits else None,
        "spans": timeline.spans(job, selectors.now()),
        "attempts": [_told(attempt) for attempt in reversed(job.attempts)],
        "hosts": selectors.worker_names(held_by),
        "verbs": verbs,
        "links": links.links(job),
        "api_url": f"{site}/api/v1/jobs/{job.id}/",
        "revealed": revealed,
        "has_masked": has_masked(job),
        "result": lambda: _shown(job.result),
        # Outside of the live part: asked for only when the whole page is.
        "payload": lambda: _shown(job.payload),
        "similar": lambda: rows.similar(job),
        "actions": lambda: [(verb, snippets.action(verb, str(job.id), site)) for verb in verbs],
    }
    if revealed:
        context["address"] = job_url(str(job.id))  # this one is answered to a button alone
    moves = bool(MOVES[State(job.status)])  # people move what is dead or cancelled
    return live(request, "job", context, polls=moves and not revealed)


def _verbs(status: State) -> list[str]:
    """Return what may be done to a job in this state, as the API calls it."""
    allowed = {
        "requeue": status in REQUEUEABLE,
        "run": status in WAITING,
        "cancel": State.CANCELLED in MOVES[status],
        "delete": status in ENDED,
    }
    return [verb for verb, is_so in allowed.items() if is_so]


def _told(attempt: Attempt) -> dict[str, Any]:
    return {"is": attempt, "folded": tracebacks.fold(attempt.traceback)}


def _shown(value: Any) -> dict[str, Any]:
    """Return a JSON value as a tree and as it is, with its size in bytes."""
    size = len(json.dumps(value, ensure_ascii=False, default=str).encode())
    return {"root": tree.tree(value, secrets.MASK), "size": size, "value": value}


def has_masked(job: Job) -> bool:
    """Return whether anything of what a job was read with is masked."""
    return secrets.MASK in json.dumps([job.payload, job.result], ensure_ascii=False)


def found(id: str) -> Job:
    """Return the job of an address: what cannot be an id is no address of a job."""
    try:
        return selectors.job(id)
    except InvalidRequest as error:
        raise Http404(f"There is no job {id}: {error.errors[0].message}") from error


# --- what may be done to it -------------------------------------------------------------------


@page("retry", ("POST",))
def job_requeue(request: Request, id: str) -> HttpResponse:
    return _do(request, id, services.requeue, f"Job {id} is pending again.")


@page("retry", ("POST",))
def job_run(request: Request, id: str) -> HttpResponse:
    """Make it pending now, though its time has not come."""
    return _do(request, id, services.run_now, f"Job {id} is pending: it no longer waits.")


@page("cancel", (*READ, "POST"))
def job_cancel(request: Request, id: str) -> HttpResponse:
    """Ask first: a cancelled job does not run. One that is dead is discarded by it."""
    if request.method in READ:
        job = found(id)
        can = job.status in sources(State.CANCELLED)
        return shell(request, "cancel", {"job": job, "can": can, "back": _back(request, id)})
    cancel = partial(services.cancel, seen=request.POST.get("seen", ""))
    return _do(request, id, cancel, f"Job {id} is cancelled.")


@page("delete", (*READ, "POST"))
def job_delete(request: Request, id: str) -> HttpResponse:
    """Ask first: what is deleted cannot be requeued, and nothing is left but the audit."""
    if request.method in READ:
        job = found(id)
        can = job.status in ENDED
        return shell(request, "job_delete", {"job": job, "can": can, "back": job_url(id)})
    return _do(request, id, services.delete, f"Job {id} is deleted.", back="jobs")


def _do(
    request: Request, id: str, verb: Callable[..., None], said: str, back: str = ""
) -> HttpResponse:
    def change() -> str:
        verb(id, actor=request.user.get_username())
        return said

    return act(request, change, back or job_url(id))


def _back(request: Request, id: str) -> str:
    return within(request, request.GET.get("back", "")) or job_url(id)


def job_url(id: str) -> str:
    return resolve_url("job", id=id)
