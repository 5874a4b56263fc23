"""Bulk operations."""

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import resolve_url

from jobs import roles, selectors, services
from jobs.errors import InvalidRequest
from jobs.models import Operation
from jobs.views.door import Request, act, live, page


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
