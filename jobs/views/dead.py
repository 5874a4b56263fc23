"""Dead letters: the list, and their requeue in two steps."""

from django.http import HttpResponse
from django.shortcuts import redirect

from jobs import selectors, services
from jobs.errors import FieldError, IllegalMove, InvalidRequest, NotFound
from jobs.selectors import JobFilter
from jobs.states import State
from jobs.views.door import Request, act, page, shell
from jobs.views.jobs import listed


@page("view")
def dead(request: Request) -> HttpResponse:
    chosen = JobFilter(
        status=State.DEAD, type=request.GET.get("type", ""), queue=request.GET.get("queue", "")
    )
    return listed(request, "dead", chosen)


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
