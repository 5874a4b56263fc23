"""The forms that submit a job: a new one, one like another, an edited one in place of another."""

from dataclasses import dataclass, field

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render

from jobs import counts, limits, registry, roles, secrets, selectors, services, snippets
from jobs.errors import FieldError, IdempotencyConflict, IllegalMove, InvalidRequest
from jobs.forms import Filling, JobForm
from jobs.models import Job
from jobs.states import ENDED
from jobs.views.door import READ, Request, page, shell
from jobs.views.job import found, has_masked

OPTIONS = ("priority", "queue", "max_attempts")


@page("submit", (*READ, "POST"))
def job_new(request: Request) -> HttpResponse:
    """Submit a job; with `from`, one that begins as a copy of that job."""
    asked = request.POST if request.method == "POST" else request.GET
    original = found(asked["from"]) if asked.get("from") else None
    types = selectors.job_types()
    name = asked.get("type") or (original.type if original else types[0].name if types else "")
    if original and original.type != name:
        original = None  # another type was chosen since
    draft = _draft(request, _job_type(name), original)
    id = _submitted(request, draft) if draft.is_sent else None
    if id:
        messages.success(request, f"Job {id} is accepted.")
        counts.forget()
        return redirect("job", id=id)
    return _shown(request, "job_new", draft, original)


@page("retry", (*READ, "POST"))
def job_edit(request: Request, id: str) -> HttpResponse:
    """Requeue a job that has ended as a new one, with another payload or other options."""
    if not roles.may(request.user, "submit"):
        raise PermissionDenied
    original = found(id)
    draft = _draft(request, _job_type(original.type), original)
    try:
        new = _submitted(request, draft, id) if draft.is_sent else None
    except IllegalMove as error:
        draft.form.add_error(None, str(error))
        new = None
    if new:
        messages.success(request, f"Job {new} is accepted in place of {id}.")
        counts.forget()
        return redirect("job", id=new)
    return _shown(request, "job_edit", draft, original)


def _job_type(name: str) -> registry.JobType[..., object]:
    job_type = registry.get(name)
    if job_type is None:
        raise InvalidRequest(FieldError("type", f"There is no job type {name!r} here."))
    return job_type


@dataclass(frozen=True)
class Draft:
    """A form as it is to be shown or sent. `code`: what it would do, where that was asked for."""

    form: JobForm
    is_sent: bool = False
    code: list[snippets.Snippet] = field(default_factory=list)


def _draft(
    request: Request, job_type: registry.JobType[..., object], original: Job | None
) -> Draft:
    posted = request.method == "POST"
    asked = request.POST if posted else request.GET
    raw, show = asked.get("raw") == "1", request.GET.get("show", "")
    filling = _filling(request, original, read=not posted)
    form = _form(job_type, request.POST if posted else None, raw, filling)
    if not posted:
        return Draft(form)
    if not form.is_valid() or not show:
        return Draft(form, is_sent=form.is_valid())
    if show == "code":
        return Draft(form, code=_code(request, form))
    # The other way to write the same: what was typed is carried over.
    options = {name: request.POST.get(name, "") for name in form.fields}
    other = Filling(secrets.mask_given(job_type.name, dict(form.request().payload)), options)
    return Draft(_form(job_type, None, show == "json", other))


def _form(
    job_type: registry.JobType[..., object], data: object, raw: bool, filling: Filling
) -> JobForm:
    return JobForm(job_type, data, attempts=settings.JOB_MAX_ATTEMPTS, raw=raw, filling=filling)


def _filling(request: Request, original: Job | None, *, read: bool) -> Filling:
    """Return what the form begins with. Secrets are read for who may see them, and it is audited.

    A form that is sent back holds what was typed, so they are not read again.
    """
    if original is None:
        return Filling()
    reveals = has_masked(original) and roles.may(request.user, "view_payload")
    if reveals and read:
        services.reveal(str(original.id), actor=request.user.get_username())
        original = selectors.job(str(original.id), reveal=True)
    options = {name: getattr(original, name) for name in OPTIONS}
    payload = original.payload if isinstance(original.payload, dict) else {}
    hidden = {} if reveals and not read else payload
    return Filling(hidden, {**options, "tags": ", ".join(original.tags)}, revealed=reveals)


def _code(request: Request, form: JobForm) -> list[snippets.Snippet]:
    """Return what the form would do, as code; its faults are shown at their fields."""
    asked = form.request()
    try:
        asked.payload = form.job_type.validate(asked.payload)
    except InvalidRequest as refusal:
        form.show(refusal)
        return []
    site = request.build_absolute_uri("/").rstrip("/")
    return snippets.submission(form.job_type, asked, form.key, site)


def _submitted(request: Request, draft: Draft, original: str = "") -> str | None:
    """Submit what the form asks for and return the job's id; `None`: its faults are shown."""
    actor = request.user.get_username()
    try:
        limits.take("submit", f"user:{request.user.pk}")
        asked, key = draft.form.request(), draft.form.key
        if original:
            return services.resubmit(original, asked, actor=actor, key=key).ids[0]
        return services.accept([asked], key=key, scope=actor).ids[0]
    except InvalidRequest as refusal:
        draft.form.show(refusal)
    except IdempotencyConflict as conflict:
        draft.form.add_error("idempotency_key", str(conflict))
    return None


def _shown(request: Request, name: str, draft: Draft, original: Job | None) -> HttpResponse:
    # Names, never the types themselves: a template calls what can be called, here the job.
    form = draft.form
    status = 400 if form.errors else 200
    part = "code" if request.GET.get("show") == "code" else "fields"
    is_part = request.htmx and not request.htmx.history_restore_request
    if part == "fields" or not is_part:
        form.ask_again()
    context = {
        "form": form,
        "type": form.job_type.name,
        "description": form.job_type.description,
        "types": [known.name for known in selectors.job_types()],
        "code": draft.code,
        "original": original,
        "edits": name == "job_edit",
        "has_ended": original is not None and original.status in ENDED,
        "is_part": is_part,  # then the code that is shown is of another type
    }
    if is_part:
        return render(request, f"parts/{part}.html", context)
    return shell(request, name, context, status=status)
