"""The door of every page, its shell and its live part."""

import hashlib
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
from django_htmx.http import HttpResponseStopPolling, trigger_client_event
from django_htmx.middleware import HtmxDetails

from jobs import limits, problems, roles, selectors
from jobs.errors import IllegalMove, InvalidRequest, NotFound, RateLimited

READ = ("GET", "HEAD")


class Request(HttpRequest):
    """A request that has passed `page`: somebody is logged in."""

    htmx: HtmxDetails
    user: User


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
        return redirect(within(request, request.POST.get("next", "")) or resolve_url(back))
    response = render(request, "parts/messages.html", status=status)
    return trigger_client_event(response, "refresh")


def within(request: Request, address: str) -> str:
    """The address if it is one of this site, else nothing."""
    safe = url_has_allowed_host_and_scheme(address, {request.get_host()}, request.is_secure())
    return address if safe else ""
