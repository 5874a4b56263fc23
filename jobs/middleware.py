"""Around every request: its headers, where from, what was refused, read only, MongoDB away."""

from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponsePermanentRedirect,
)
from django.middleware.common import CommonMiddleware
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from pymongo.errors import PyMongoError

from jobs import audit, mongodb, origin, outages, people, sessions, versions
from jobs.errors import ReadOnly, StoreDown, TooSlow
from jobs.origin import SAFE
from jobs.problems import RETRY_SECONDS, Problem, too_slow
from jobs.problems import response as problem_response

log = structlog.get_logger(__name__)

USED_EVERY_SECONDS = 30  # how often the last use of a session is written down, at most
SESSION_PAGES = ("login", "logout", "admin:login", "admin:logout")


def site(request: HttpRequest) -> dict[str, Any]:
    """Return what every page says of where it is: see shell.html."""
    return {
        "read_only": settings.READ_ONLY,
        "environment": settings.ENVIRONMENT,
        "version": versions.own(),
    }


class PeopleMiddleware(AuthenticationMiddleware):
    """Django's, with users that are kept for a moment: see `jobs.people`."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        request.user = SimpleLazyObject(lambda: _asking(request))  # type: ignore[assignment]


def _asking(request: HttpRequest) -> User | AnonymousUser:
    # Under the name that Django itself keeps it by for the length of a request.
    if not hasattr(request, "_cached_user"):
        request._cached_user = people.asking(request)  # type: ignore[attr-defined]
    return request._cached_user  # type: ignore[attr-defined, no-any-return]


class SessionAgeMiddleware:
    """End a session that nobody has used for a time, or that is too old."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            if SESSION_KEY in request.session and not self._lives(request):
                logout(request)
        except outages.ERRORS as error:  # outside of every view
            return _store_down(request, error)
        return self.get_response(request)

    def _lives(self, request: HttpRequest) -> bool:
        now = mongodb.clock.about().timestamp()
        request.session.setdefault("began", now)
        used = request.session.setdefault("used", now)
        lives = sessions.seconds_left(request.session) >= 0
        if not people.is_poll(request) and now - used > USED_EVERY_SECONDS:
            request.session["used"] = now
        return lives


class ReadOnlyMiddleware:
    """With READ_ONLY, refuse whatever may change something; people still log in and out."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if settings.READ_ONLY and request.method not in SAFE and not _is_session(request):
            return _read_only(request)
        return self.get_response(request)


def _is_session(request: HttpRequest) -> bool:
    return request.path_info in [reverse(name) for name in SESSION_PAGES]


def _read_only(request: HttpRequest) -> HttpResponse:
    if request.path_info.startswith("/api/"):
        return problem_response(Problem(403, str(ReadOnly()), ReadOnly.code))
    page = render_to_string("403.html", request=request)
    return HttpResponse(page, status=403)


class HeadersMiddleware:
    """Headers for browsers that Django has no setting for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers["Permissions-Policy"] = settings.PERMISSIONS_POLICY
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response


class HostMiddleware(CommonMiddleware):
    """Django's, which refuses a host that is not in ALLOWED_HOSTS, except of a probe.

    Kubernetes asks by the pod's address, the image by 127.0.0.1. No answer of theirs names a host.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        return None if request.path_info in settings.PROBES else super().process_request(request)


class OriginMiddleware:
    """Say where a request comes from while it is answered, and write down that it was refused."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        where = origin.of_request(request)
        token = origin.set(where)
        try:
            with structlog.contextvars.bound_contextvars(request_id=where.request_id):
                response = self.get_response(request)
                if _is_refusal(request, response):
                    _refused(request, response.status_code)
        finally:
            origin.reset(token)
        response.headers[origin.HEADER] = where.request_id
        return response


def _is_refusal(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Who only forgot to log in is not refused anything; a wrong token is."""
    status = response.status_code
    return status == 403 or (status == 401 and "Authorization" in request.headers)


def _refused(request: HttpRequest, status: int) -> None:
    match = request.resolver_match
    route = f"{request.method} {match.route if match else '?'}"
    actor = request.user.get_username() if hasattr(request, "user") else ""
    try:
        audit.refuse(
            actor, "refused", f"{request.method} {request.path}", route=route, detail=f"{status}"
        )
    except (StoreDown, PyMongoError) as error:
        log.error("audit.refusal_unwritten", path=request.path, actor=actor, error=str(error))


class StoreDownMiddleware:
    """Answer 503 where a view met a store that is down, whoever noticed it first."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return _store_down(request, error) if isinstance(error, outages.ERRORS) else None


def _store_down(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("page.store_down", path=request.path, error=str(error))
    headers = {"Retry-After": str(RETRY_SECONDS)}
    if request.path_info.startswith("/api/"):
        return problem_response(Problem(503, "MongoDB did not answer.", headers=headers))
    # Without the request: its user and its messages would ask the same store again.
    slow = too_slow(error, request)
    template = "503_slow.html" if slow else "503.html"
    headers["Problem-Code"] = TooSlow.code if slow else StoreDown.code  # for live.js
    page = render_to_string(template, {"retry_path": origin.page_of(request)})
    return HttpResponse(page, status=503, headers=headers)
