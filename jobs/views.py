"""The pages. Reads go through `selectors`, changes through `services`; no rule is kept here.

A page is a shell around one live part. The same address answers both: htmx asks for the part alone
every two seconds, with the `rev` of what it has, and gets 204 while nothing has changed.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseStopPolling, trigger_client_event
from django_htmx.middleware import HtmxDetails

from jobs import limits, problems, registry, reports, roles, secrets, selectors, services
from jobs import serializers as shapes
from jobs.errors import FieldError, IllegalMove, InvalidRequest, NotFound, RateLimited
from jobs.forms import JobForm, TokenForm
from jobs.models import Job, Operation
from jobs.registry import Lane
from jobs.selectors import JobFilter, LaneDepth, Stats, WorkerView
from jobs.states import ENDED, MOVES, REQUEUEABLE, State, sources

NEWEST_ROWS = 10
DEAD_ROWS = 5
READ = ("GET", "HEAD")
FILTERS = ("status", "type", "queue", "priority", "q")


class Request(HttpRequest):
    """A request that has passed `page`: somebody is logged in."""

    htmx: HtmxDetails
    user: User


View = Callable[..., HttpResponse]


class LoginPage(LoginView):
    """Where sessions begin."""

    template_name = "login.html"
    redirect_authenticated_user = True


# --- the door, the shell and its live part ----------------------------------------------------


def page(right: roles.Right, methods: tuple[str, ...] = READ) -> Callable[[View], View]:
    """The door of every page: who may enter, by which method, and what each error means here."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return _ask_to_log_in(request)
            if not roles.may(request.user, right):
                raise PermissionDenied
            response = _answer(view, request, *args, **kwargs)
            patch_vary_headers(response, ["HX-Request"])
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return require_http_methods(list(methods))(guarded)

    return decorate


def _answer(view: View, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
    try:
        limits.take("read" if request.method in READ else "write", f"user:{request.user.pk}")
        return view(request, *args, **kwargs)
    except NotFound as error:
        raise Http404(str(error)) from error
    except InvalidRequest as error:
        return render(request, "400.html", {"faults": error.errors}, status=400)
    except RateLimited as refusal:
        answer = render(request, "429.html", {"refusal": refusal}, status=429)
        for name, value in problems.limits_of(refusal).items():
            answer[name] = value
        return answer


def _ask_to_log_in(request: Request) -> HttpResponse:
    # A fragment must not turn into the login page: the script shows a banner for a 401.
    if request.htmx:
        return HttpResponse(status=401)
    return redirect_to_login(request.get_full_path() if request.method in READ else "/")


def live(
    request: Request,
    name: str,
    context: Mapping[str, Any],
    *,
    polls: bool = True,
    status: int = 200,
) -> HttpResponse:
    """Answer with the page `name`, or with its live part alone if htmx asks for that."""
    shown = {
        **context,
        "here": name,
        "rights": roles.rights_of(request.user),
        "stats": selectors.stats(),
    }
    part = render_to_string(f"live/{name}.html", shown, request)
    rev = hashlib.blake2b(part.encode(), digest_size=8).hexdigest()
    shown |= {"part": part, "rev": rev}
    if not request.htmx or request.htmx.history_restore_request:
        return render(request, f"pages/{name}.html", shown | {"polls": polls}, status=status)
    if not polls:
        return HttpResponseStopPolling(render_to_string("parts/live.html", shown, request))
    if request.GET.get("rev") == rev:
        return HttpResponse(status=204)
    return render(request, "parts/live.html", shown)


def shell(
    request: Request, name: str, context: Mapping[str, Any], *, status: int = 200
) -> HttpResponse:
    """Answer with a page that has no live part."""
    rights = roles.rights_of(request.user)
    shown = {"here": name, "stats": selectors.stats(), "rights": rights, **context}
    return render(request, f"pages/{name}.html", shown, status=status)


def act(request: Request, change: Callable[[], str], back: str) -> HttpResponse:
    """Make one change and say what came of it, where the person is: nobody is sent away.

    `change` returns the sentence to say. A move that does not exist any more changes nothing.
    """
    status = 200
    try:
        messages.success(request, change())
    except IllegalMove as error:
        messages.error(request, f"Nothing was changed. {error}")
        status = 409
    selectors.forget_stats()
    if not request.htmx:
        return redirect(_within(request, request.POST.get("next", "")) or resolve_url(back))
    response = render(request, "parts/messages.html", status=status)
    return trigger_client_event(response, "refresh")


def _within(request: Request, address: str) -> str:
    """The address if it is one of this site, else nothing."""
    safe = url_has_allowed_host_and_scheme(address, {request.get_host()}, request.is_secure())
    return address if safe else ""


# --- overview ---------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class Bar:
    """One lane as a bar; `width` is its share, in percent, of the deepest lane."""

    lane: Lane
    depth: int
    oldest: datetime | None
    paused: bool
    width: int


def _bars(lanes: list[LaneDepth]) -> list[Bar]:
    deepest = max((lane.depth for lane in lanes), default=0) or 1
    return [
        Bar(lane.lane, lane.depth, lane.oldest, lane.paused, -(-100 * lane.depth // deepest))
        for lane in lanes
    ]


@page("view")
def overview(request: Request) -> HttpResponse:
    stats = selectors.stats()
    workers = selectors.workers(ended=False)
    status = request.GET.get("status", "")
    recent = selectors.jobs(JobFilter(status=status), size=NEWEST_ROWS)
    dead = selectors.jobs(JobFilter(status=State.DEAD), size=DEAD_ROWS)
    context = {
        "health": _health(stats, workers),
        "bars": _bars(stats.lanes),
        "workers": workers,
        "recent": recent.jobs,
        "status": status,
        "states": list(State),
        "dead": dead.jobs,
    }
    return live(request, "overview", context)


# --- jobs -------------------------------------------------------------------------------------


@page("view")
def jobs(request: Request) -> HttpResponse:
    return _list(request, "jobs", _chosen(request))


@page("view")
def dead(request: Request) -> HttpResponse:
    chosen = JobFilter(
        status=State.DEAD, type=request.GET.get("type", ""), queue=request.GET.get("queue", "")
    )
    return _list(request, "dead", chosen)


def _chosen(request: Request) -> JobFilter:
    given = {name: request.GET.get(name, "").strip() for name in FILTERS}
    return JobFilter(**given)  # type: ignore[arg-type]  # none of these is a date


def _list(request: Request, name: str, chosen: JobFilter) -> HttpResponse:
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
            "back": _within(request, request.GET.get("back", "")) or _job_url(id),
        }
        return shell(request, "cancel", context)

    def change() -> str:
        services.cancel(id, actor=request.user.get_username())
        return f"Job {id} is cancelled."

    return act(request, change, _job_url(id))


def _job_url(id: str) -> str:
    return resolve_url("job", id=id)


# --- submit -----------------------------------------------------------------------------------


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


# --- dead letters -----------------------------------------------------------------------------


@page("bulk", ("POST",))
def dead_preview(request: Request) -> HttpResponse:
    """Step one: which dead letters these are, now. The token names them and no later one."""
    chosen = {name: request.POST.get(name, "") for name in ("type", "queue")}
    actor = request.user.get_username()
    dead = JobFilter(status=State.DEAD, type=chosen["type"], queue=chosen["queue"])
    frozen = services.preview("requeue", dead, actor=actor)
    return shell(request, "dead_preview", {"frozen": frozen, "chosen": chosen})


@page("bulk", ("POST",))
def dead_requeue(request: Request) -> HttpResponse:
    """Step two, by the token of step one; or the ticked ones, which are named one by one."""
    token = request.POST.get("token")
    ids = request.POST.getlist("id")[: selectors.MAX_PAGE_SIZE]
    actor = request.user.get_username()
    if token is not None:
        frozen = services.read_token(token, actor=actor)
        if frozen.action != "requeue":
            raise InvalidRequest(FieldError("token", "It was not made for a requeue."))
        return redirect("operation", id=services.start_operation(frozen, actor=actor).id)
    return act(request, lambda: _requeue_ticked(ids, actor), "dead")


def _requeue_ticked(ids: list[str], actor: str) -> str:
    refused = 0
    for id in ids:
        try:
            services.requeue(id, actor=actor)
        except (IllegalMove, NotFound):
            refused += 1
    if not ids:
        raise IllegalMove("No dead letter was ticked.")
    left = f" {refused} had moved on meanwhile and were left alone." if refused else ""
    return _said(len(ids) - refused) + left


def _said(count: int) -> str:
    return f"{count:,} job{' is' if count == 1 else 's are'} pending again."


# --- bulk operations --------------------------------------------------------------------------


@page("view")
def operations(request: Request) -> HttpResponse:
    cursor = request.GET.get("cursor", "")
    found = selectors.operations(cursor=cursor)
    return live(request, "operations", {"page": found}, polls=not cursor)


@page("view")
def operation(request: Request, id: str) -> HttpResponse:
    found = _operation(id)
    return live(request, "operation", {"operation": found}, polls=found.finished_at is None)


def _operation(id: str) -> Operation:
    try:
        return selectors.operation(id)
    except InvalidRequest as error:
        raise Http404(f"There is no operation {id}: {error.errors[0].message}") from error


@page("bulk", ("POST",))
def operation_stop(request: Request, id: str) -> HttpResponse:
    def change() -> str:
        services.stop_operation(id, actor=request.user.get_username())
        return "The operation is stopped. What it did stays done; it can go on later."

    return act(request, change, resolve_url("operation", id=id))


@page("bulk", ("POST",))
def operation_resume(request: Request, id: str) -> HttpResponse:
    right = roles.RIGHTS_OF_ACTIONS[_operation(id).action]
    if not roles.may(request.user, right):
        raise PermissionDenied

    def change() -> str:
        services.resume_operation(id, actor=request.user.get_username())
        return "The operation goes on where it was."

    return act(request, change, resolve_url("operation", id=id))


# --- queues, workers, the audit ---------------------------------------------------------------


@page("view")
def queues(request: Request) -> HttpResponse:
    bars = _bars(selectors.stats().lanes)
    lanes = {
        queue: [bar for bar in bars if bar.lane.queue == queue.name] for queue in selectors.queues()
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


@page("view")
def workers(request: Request) -> HttpResponse:
    return live(request, "workers", {"workers": selectors.workers()})


# --- tokens -----------------------------------------------------------------------------------


@page("manage_tokens", (*READ, "POST"))
def tokens(request: Request) -> HttpResponse:
    """List them, and make one: it is on the answer to the form, and nowhere else ever after."""
    form = TokenForm(request.user, request.POST if request.method == "POST" else None)
    made = _issued(form, request.user) if form.is_bound and form.is_valid() else None
    now = selectors.now()
    context = {
        "form": TokenForm(request.user) if made else form,
        "made": made,
        "tokens": [(token, token.state(now)) for token in selectors.tokens()],
    }
    return shell(request, "tokens", context, status=400 if form.errors else 200)


def _issued(form: TokenForm, user: User) -> str | None:
    asked, actor = form.cleaned_data, user.get_username()
    try:
        account = services.program(asked["name"], asked["role"], actor=actor)
        return services.issue_token(
            account,
            actor=actor,
            role=asked["role"],
            queues=asked["queues"],
            expires_at=asked["days"] and selectors.now() + timedelta(days=asked["days"]),
        )
    except InvalidRequest as refusal:
        for fault in refusal.errors:
            form.add_error(fault.field if fault.field in form.fields else None, fault.message)
        return None


@page("manage_tokens", ("POST",))
def token_revoke(request: Request, id: str) -> HttpResponse:
    def change() -> str:
        revoked = services.revoke_token(id, actor=request.user.get_username())
        return f"{revoked} is revoked: whoever sends it gets 401."

    return act(request, change, "tokens")


@page("view_audit")
def audit(request: Request) -> HttpResponse:
    asked = request.GET.dict()
    cursor = asked.pop("cursor", "")
    chosen = _audit_filter(asked)
    named = {name: asked.get(name, "") for name in shapes.AUDIT_FIELDS}
    context = {
        "page": selectors.audit(chosen, cursor=cursor),
        "chosen": named,
        "filtered": any(named.values()),
        "cursor": cursor,
    }
    return live(request, "audit", context, polls=not cursor)


@page("view_audit")
def audit_export(request: Request, form: str) -> HttpResponse:
    """Send every entry that matches, line by line, as CSV or as one JSON object a line."""
    entries = selectors.whole_audit(_audit_filter(request.GET.dict()))
    rows = (shapes.AuditShape.model_validate(entry).answer() for entry in entries)
    if form == "csv":
        names = list(shapes.AuditShape.model_fields)
        cells = ([_cell(row[name]) for name in names] for row in rows)
        lines, kind = reports.csv_lines(names, cells), "text/csv"
    else:
        lines, kind = (f"{json.dumps(row)}\n" for row in rows), "application/x-ndjson"
    answer = StreamingHttpResponse(lines, content_type=f"{kind}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="audit.{form}"'
    return answer  # type: ignore[return-value]


def _audit_filter(asked: Mapping[str, str]) -> selectors.AuditFilter:
    """Return what a form asked for: what is empty there is not asked for."""
    given = {name: [value] for name, value in asked.items() if value and name != "rev"}
    return shapes.read_query(shapes.AuditParameters, given).chosen()


def _cell(value: Any) -> reports.Cell:
    return json.dumps(value) if isinstance(value, dict | list) else value
