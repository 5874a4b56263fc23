"""Jobs: one of them, a new one."""

import json

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render, resolve_url

from jobs import limits, registry, secrets, selectors, services
from jobs.errors import FieldError, InvalidRequest
from jobs.forms import JobForm
from jobs.models import Job
from jobs.states import ENDED, MOVES, REQUEUEABLE, State, sources
from jobs.views.door import READ, Request, act, live, page, shell, within


@page("view")
def job(request: Request, id: str) -> HttpResponse:
    return _job_page(request, _job(id))


@page("view_payload", ("POST",))
def job_reveal(request: Request, id: str) -> HttpResponse:
    """Show a job with its secrets, once: the page does not renew itself."""
    services.reveal(id, actor=request.user.get_username())
    return _job_page(request, selectors.job(id, reveal=True), revealed=True)


def _job_page(request: Request, found: Job, *, revealed: bool = False) -> HttpResponse:
    held_by = {attempt.worker for attempt in found.attempts} | {found.worker}
    context = {
        "job": found,
        "attempts": list(reversed(found.attempts)),
        "hosts": selectors.worker_names([worker for worker in held_by if worker]),
        "can_requeue": found.status in REQUEUEABLE,
        "can_cancel": State.CANCELLED in MOVES[State(found.status)],
        "api_url": request.build_absolute_uri(f"/api/v1/jobs/{found.id}/"),
        "revealed": revealed,
        "has_masked": secrets.MASK in json.dumps([found.payload, found.result], ensure_ascii=False),
    }
    return live(request, "job", context, polls=found.status not in ENDED and not revealed)


def _job(id: str) -> Job:
    """The job of an address: what cannot be an id is no address of a job."""
    try:
        return selectors.job(id)
    except InvalidRequest as error:
        raise Http404(f"There is no job {id}: {error.errors[0].message}") from error


@page("retry", ("POST",))
def job_requeue(request: Request, id: str) -> HttpResponse:
    def change() -> str:
        services.requeue(id, actor=request.user.get_username())
        return f"Job {id} is pending again."

    return act(request, change, _job_url(id))


@page("cancel", (*READ, "POST"))
def job_cancel(request: Request, id: str) -> HttpResponse:
    """Ask first: a cancelled job does not run. One that is dead is discarded by it."""
    if request.method in READ:
        found = _job(id)
        context = {
            "job": found,
            "can_cancel": found.status in sources(State.CANCELLED),
            "back": within(request, request.GET.get("back", "")) or _job_url(id),
        }
        return shell(request, "cancel", context)

    def change() -> str:
        services.cancel(id, actor=request.user.get_username())
        return f"Job {id} is cancelled."

    return act(request, change, _job_url(id))


def _job_url(id: str) -> str:
    return resolve_url("job", id=id)


@page("submit", (*READ, "POST"))
def job_new(request: Request) -> HttpResponse:
    asked = request.POST if request.method == "POST" else request.GET
    types = selectors.job_types()
    job_type = registry.get(asked.get("type", types[0].name if types else ""))
    if job_type is None:
        fault = FieldError("type", f"There is no job type {asked.get('type', '')!r} here.")
        raise InvalidRequest(fault)
    data = request.POST if request.method == "POST" else None
    form = JobForm(job_type, data, attempts=settings.JOB_MAX_ATTEMPTS)
    id = _submitted(form, request.user) if data is not None and form.is_valid() else None
    if id:
        messages.success(request, f"Job {id} is accepted.")
        selectors.forget_stats()
        return redirect("job", id=id)
    # Names, never the types themselves: a template calls what can be called, here the job.
    context = {
        "form": form,
        "type": job_type.name,
        "description": job_type.description,
        "types": [known.name for known in types],
    }
    if request.htmx and not request.htmx.history_restore_request:
        return render(request, "parts/fields.html", context)
    return shell(request, "job_new", context, status=400 if form.errors else 200)


def _submitted(form: JobForm, user: User) -> str | None:
    try:
        limits.take("submit", f"user:{user.pk}")
        return services.enqueue_many([form.request()])[0]
    except InvalidRequest as refusal:
        form.show(refusal)
        return None
