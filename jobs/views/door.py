"""The door of every page, its shell and its live part."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods
from django_htmx.http import (
    HttpResponseClientRefresh,
    HttpResponseStopPolling,
    trigger_client_event,
)
from django_htmx.middleware import HtmxDetails

from jobs import counts, limits, outages, people, problems, roles, snapshot
from jobs.counts import Stats
from jobs.errors import IllegalMove, InvalidRequest, NotFound, RateLimited
from jobs.origin import page_of
from jobs.snapshot import Part

READ = ("GET", "HEAD")
KEPT = "-kept"  # ends the rev of a page that could not be read anew


class Request(HttpRequest):
    """A request that has passed `page`: somebody is logged in."""

    htmx: HtmxDetails
    user: User
    part_key: str  # of the live part that it asks for
    found: snapshot.Found  # what was shared under it
    told: tuple[str, str]  # the rev of the part that is shown, and when it was built


View = Callable[..., HttpResponse]


def page(right: roles.Right, methods: tuple[str, ...] = READ) -> Callable[[View], View]:
    """The door of every page: who may enter, by which method, and what each error means here."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return _ask_to_log_in(request)
            if not roles.may(request.user, right):
                raise PermissionDenied
            if request.method in READ:
                _find(request)
                if people.is_poll(request) and people.is_outdated(request.user):
                    request.user = people.asking(request)  # type: ignore[assignment]
                    return guarded(request, *args, **kwargs)
            response = _answer(view, request, *args, **kwargs)
            patch_vary_headers(response, ["HX-Request"])
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return require_http_methods(list(methods))(guarded)

    return decorate


def _answer(view: View, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
    try:
        if request.method in READ:
            return _read(view, request, *args, **kwargs)
        limits.take("write", f"user:{request.user.pk}")
        response = view(request, *args, **kwargs)
        snapshot.forget()
        return response
    except NotFound as error:
        raise Http404(str(error)) from error
    except InvalidRequest as error:
        return render(request, "400.html", {"faults": error.errors}, status=400)
    except RateLimited as refusal:
        answer = render(
            request, "429.html", {"refusal": refusal, "retry_path": page_of(request)}, status=429
        )
        for name, value in problems.limits_of(refusal).items():
            answer[name] = value
        return answer


def _ask_to_log_in(request: Request) -> HttpResponse:
    # A fragment must not turn into the login page: the script shows a banner for a 401.
    if request.htmx:
        return HttpResponse(status=401)
    return redirect_to_login(request.get_full_path() if request.method in READ else "/")


# --- what is shared, and what is kept ---------------------------------------------------------


def _find(request: Request) -> None:
    """Look for the live part under its address and the rights of who asks."""
    asked = request.GET.copy()
    asked.pop("rev", None)
    where = (request.scheme or "", request.get_host(), request.path, asked.urlencode())
    rights = sorted(roles.rights_of(request.user))
    request.part_key = snapshot.key_of([*where, *rights])
    request.found = snapshot.find(request.part_key)


def _read(view: View, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
    """Answer a poll with what others have had built; else ask the view."""
    found, builds = request.found, False
    if _is_fragment(request) and found.rev:
        # Who has just changed something is not served the part from before, whoever builds.
        builds = not found.fresh and (found.outdated or snapshot.begin(request.part_key))
        if not builds and request.GET.get("rev") == _rev(found.rev, outages.current()):
            return HttpResponse(status=204)  # counted for no limit: it cost nothing
        shared = None if builds else snapshot.last(request.part_key)
        if shared:
            return _fragment(request, shared)
    try:
        limits.take("read", f"user:{request.user.pk}")
        # With nothing to show instead, the view itself finds out: it may need no store.
        with outages.mongodb.asked() if found.rev else outages.mongodb.hurried():
            return view(request, *args, **kwargs)
    except outages.ERRORS:
        kept = snapshot.last(request.part_key) if outages.mongodb.since else None
        if kept is None:
            raise
        return _fragment(request, kept) if _is_fragment(request) else _kept_page(request, kept)
    finally:
        if builds:
            snapshot.end(request.part_key)


def _is_fragment(request: Request) -> bool:
    return bool(request.htmx) and not request.htmx.history_restore_request


def _rev(rev: str, away: list[outages.Outage]) -> str:
    """Return a part's rev, with the stores that are away: their banner is part of the answer."""
    return "-".join([rev, *(outage.store for outage in away)])


def _fragment(request: Request, part: Part) -> HttpResponse:
    """Answer with a live part, the badge and the banner: with nothing if that is what they have."""
    away = outages.current()
    rev, theirs = _rev(part.rev, away), request.GET.get("rev", "")
    if theirs == rev:
        return HttpResponse(status=204)
    if theirs.endswith(KEPT) and not away:
        return HttpResponseClientRefresh()  # all of the page can be shown again
    shown: dict[str, Any] = {"part": part.html, "rev": rev, "at": part.at}
    shown |= {"stats": {"by_status": {"dead": part.dead}}, "outages": away}
    body = render_to_string("parts/fragment.html", shown)
    request.told = rev, part.at.isoformat()
    return HttpResponse(body) if part.polls else HttpResponseStopPolling(body)


def _kept_page(request: Request, part: Part) -> HttpResponse:
    """Answer with the page as far as it is known without MongoDB: its last good part."""
    shown = {
        "part": part.html,
        "rev": _rev(part.rev, outages.current()) + KEPT,
        "at": part.at,
        "polls": True,
    }
    return render(request, "pages/kept.html", _frame(request, part.name, None) | shown)


def _frame(request: Request, name: str, stats: Stats | None) -> dict[str, Any]:
    """Return what the frame around every page shows."""
    rights = roles.rights_of(request.user)
    shown = {"here": name, "rights": rights, "stats": stats, "outages": outages.current()}
    return {**shown, "address": request.get_full_path()}


def live(
    request: Request,
    name: str,
    context: Mapping[str, Any],
    *,
    polls: bool = True,
    status: int = 200,
) -> HttpResponse:
    """Answer with the page `name`, or with its live part alone if htmx asks for that.

    The part is shared with all who have the same rights: it is rendered without the request's
    context processors, so that it knows no user, no CSRF token and no message.
    """
    stats = counts.stats()
    shown = {**_frame(request, name, stats), **context}
    html = render_to_string(f"live/{name}.html", shown | {"request": request})
    dead = stats.by_status["dead"]
    part = Part.of(name, html, at=stats.at, dead=dead, polls=polls)
    if request.method in READ and status == 200:
        lasting = not request.GET.keys() - {"rev"} and request.path in ("/", f"/{name}/")
        snapshot.keep(request.part_key, part, request.found, lasting=lasting)
    if _is_fragment(request):
        return _fragment(request, part)
    shown |= {"part": html, "rev": _rev(part.rev, outages.current()), "polls": polls}
    return render(request, f"pages/{name}.html", shown, status=status)


def _known_stats() -> Stats | None:
    try:
        with outages.mongodb.asked():
            return counts.stats()
    except outages.ERRORS:
        return None


def shell(
    request: Request, name: str, context: Mapping[str, Any], *, status: int = 200
) -> HttpResponse:
    """Answer with a page that has no live part."""
    shown = {**_frame(request, name, _known_stats()), **context}
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
    if not request.htmx:
        return redirect(within(request, request.POST.get("next", "")) or resolve_url(back))
    response = render(request, "parts/messages.html", status=status)
    return trigger_client_event(response, "refresh")


def within(request: Request, address: str) -> str:
    """The address if it is one of this site, else nothing."""
    safe = url_has_allowed_host_and_scheme(address, {request.get_host()}, request.is_secure())
    return address if safe else ""
