"""Bulk operations: what one would touch, its start, how far it has come."""

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, resolve_url

from jobs import query, roles, search, selectors, services
from jobs.errors import FieldError, InvalidRequest
from jobs.models import Operation
from jobs.selectors import JobFilter
from jobs.states import ALLOWED, Action
from jobs.views.door import Request, act, live, page, shell, within


@page("view")
def operations(request: Request) -> HttpResponse:
    cursor = request.GET.get("cursor", "")
    found = selectors.operations(cursor=cursor)
    return live(request, "operations", {"page": found}, polls=not cursor)


@page("bulk", ("POST",))
def operation_preview(request: Request) -> HttpResponse:
    """Step one: which jobs these are, now. The token names them and no later one."""
    asked, text = request.POST.get("action", ""), request.POST.get("q", "").strip()
    if group := request.POST.get("group", ""):  # the button of one among many, in the same form
        asked, _, alike = group.partition(":")
        text = f"{text} fingerprint:{alike}"
    action = _action(asked)
    roles.check_operation(request.user, action)
    back = within(request, request.POST.get("next", "")) or resolve_url("jobs")
    ticked = request.POST.get("scope") == "ticked" and not group
    ids = tuple(request.POST.getlist("id")[: selectors.MAX_PAGE_SIZE]) if ticked else ()
    if ticked and not ids:
        messages.error(request, f"Nothing was changed. Tick the jobs to {action} first.")
        return redirect(back)
    context = {
        "frozen": services.preview(
            action,
            JobFilter(ids=ids) if ids else JobFilter(query=text),
            actor=request.user.get_username(),
            reveal=roles.may(request.user, "view_payload"),
        ),
        "ticked": ids,
        "text": text,
        "by_host": not ids and search.by_host(query.parse(text)),
        "back": back,
        "typed_above": services.TYPED_ABOVE,
    }
    return shell(request, "operation_preview", context)


def _action(asked: str) -> Action:
    for action in ALLOWED:
        if action == asked:
            return action
    raise InvalidRequest(FieldError("action", f"Use one of: {', '.join(ALLOWED)}."))


@page("bulk", ("POST",))
def operation_start(request: Request) -> HttpResponse:
    """Step two, by the token of step one."""
    actor = request.user.get_username()
    frozen = services.read_token(request.POST.get("token", ""), actor=actor)
    roles.check_operation(request.user, frozen.action)
    services.confirm(frozen, request.POST.get("count", ""))
    return redirect("operation", id=services.start_operation(frozen, actor=actor).id)


@page("view")
def operation(request: Request, id: str) -> HttpResponse:
    found = _operation(id)
    may_operate = roles.may_operate(request.user, found.action)
    context = {"operation": found, "may_operate": may_operate}
    return live(request, "operation", context, polls=found.finished_at is None)


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
    roles.check_operation(request.user, _operation(id).action)

    def change() -> str:
        services.resume_operation(id, actor=request.user.get_username())
        return "The operation goes on where it was."

    return act(request, change, resolve_url("operation", id=id))
