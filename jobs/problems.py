"""Errors of the API as problem objects (RFC 9457), in one place and one shape.

`code` is stable and made for programs; `detail` and `errors` are sentences for people.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import django.db
import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.views.defaults import server_error as html_server_error
from pymongo.errors import ExecutionTimeout, PyMongoError
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.errors import (
    FieldError,
    Gone,
    IdempotencyConflict,
    IllegalMove,
    InvalidRequest,
    NotFound,
    OutOfScope,
    QueueError,
    RateLimited,
    ReadOnly,
    StoreDown,
    TooLarge,
    TooSlow,
    Unstorable,
)
from jobs.origin import SAFE

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 5
CODES = {
    400: "invalid",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "illegal_move",
    410: "gone",
    411: "length_required",
    413: "too_large",
    415: "unsupported_media_type",
    429: "throttled",
    500: "internal",
    503: "store_down",
}
STATUSES: dict[type[QueueError], int] = {
    TooLarge: 413,
    OutOfScope: 403,
    ReadOnly: 403,
    InvalidRequest: 400,
    NotFound: 404,
    IllegalMove: 409,
    Unstorable: 400,
    IdempotencyConflict: 409,
    Gone: 410,
    RateLimited: 429,
}


@dataclass(frozen=True)
class Problem:
    """What went wrong, before it is written down."""

    status: int
    detail: str
    code: str = ""  # empty: the usual one of its status
    errors: Iterable[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the problem object. Text that UTF-8 cannot say is replaced."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code or CODES[self.status],
            "detail": _printable(self.detail),
            "errors": [
                {"field": _printable(fault.field), "message": _printable(fault.message)}
                for fault in self.errors
            ],
        }


def _printable(text: str) -> str:
    return text[:2000].encode("utf-8", "backslashreplace").decode()


def handle(exc: Exception, context: Mapping[str, Any]) -> Response | None:
    """Answer an error of a view with a problem; `None` for what nobody expected: it is raised."""
    problem = _of_queue(exc) or _of_store(exc, context) or _of_request(exc)
    if problem is None:
        return None
    as_page = _shown_as_page(problem, context)
    return Response(
        problem.body(),
        status=problem.status,
        headers=dict(problem.headers),
        content_type=None if as_page else CONTENT_TYPE,
    )


def _shown_as_page(problem: Problem, context: Mapping[str, Any]) -> bool:
    """A person in the browsable API sees the problem in its page, unless that needs the store."""
    request = context["request"]
    renderer = getattr(request, "accepted_renderer", None)
    if renderer is not None and renderer.format == "api" and problem.status < 500:
        return True
    request.accepted_renderer, request.accepted_media_type = JSONRenderer(), CONTENT_TYPE
    return False


def _of_queue(exc: Exception) -> Problem | None:
    for kind, status in STATUSES.items():
        if isinstance(exc, kind):
            faults = exc.errors if isinstance(exc, InvalidRequest) else ()
            detail = "Nothing was done; see errors." if faults else str(exc)
            return Problem(status, detail, exc.code, faults, limits_of(exc))
    return None


def limits_of(exc: QueueError) -> dict[str, str]:
    """Return the headers that say what is left of a limit and when there will be more."""
    if not isinstance(exc, RateLimited):
        return {}
    wait = {"Retry-After": str(exc.allowance.reset_seconds)} if exc.wait else {}
    return {**exc.allowance.headers, **wait}


def _of_store(exc: Exception, context: Mapping[str, Any]) -> Problem | None:
    if not isinstance(exc, StoreDown | PyMongoError | django.db.Error):
        return None
    log.warning("api.store_failed", error=str(exc)[:500], path=context["request"].path)
    headers = {"Retry-After": str(RETRY_SECONDS)}
    if too_slow(exc, context["request"]):
        detail = "The question took too long and was stopped. Narrow it: by status, type or queue."
        return Problem(503, detail, "too_slow", headers=headers)
    if context["request"].method not in SAFE:
        detail = (
            "MongoDB did not answer. Whether this was done is unknown: with an Idempotency-Key, "
            "send it again with the same one, and nothing is doubled; without, look for it first."
        )
        return Problem(503, detail, headers=headers)
    detail = "MongoDB did not answer. Nothing was read; try again in a few seconds."
    return Problem(503, detail, headers=headers)


def too_slow(error: Exception, request: HttpRequest | Request) -> bool:
    """Return whether MongoDB stopped a question that took too long, rather than being away.

    Of a request that may change something, only what says so itself was a mere question.
    """
    stopped = any(isinstance(cause, ExecutionTimeout) for cause in (error, error.__cause__))
    return isinstance(error, TooSlow) or (request.method in SAFE and stopped)


def _of_request(exc: Exception) -> Problem | None:
    if isinstance(exc, RequestDataTooBig):
        return Problem(413, "The body is over the limit; nothing of it was looked at.")
    if isinstance(exc, Http404):
        return Problem(404, "There is nothing at this address.")
    if isinstance(exc, PermissionDenied):
        return Problem(403, "This is not allowed.")
    if isinstance(exc, exceptions.APIException):
        code = "malformed" if isinstance(exc, exceptions.ParseError) else ""
        return Problem(exc.status_code, _sentence(exc.detail), code, headers=_headers(exc))
    return None


def _sentence(detail: Any) -> str:
    return detail if isinstance(detail, str) else json.dumps(detail, default=str)


def _headers(exc: exceptions.APIException) -> dict[str, str]:
    header = getattr(exc, "auth_header", None)
    wait = getattr(exc, "wait", None)
    return ({"WWW-Authenticate": header} if header else {}) | (
        {"Retry-After": f"{wait:.0f}"} if wait else {}
    )


def response(problem: Problem) -> HttpResponse:
    """Return a problem from a view that is not part of the REST framework."""
    return HttpResponse(
        json.dumps(problem.body()),
        status=problem.status,
        content_type=CONTENT_TYPE,
        headers=dict(problem.headers),
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what nobody expected, without a trace of it: Django's `handler500`."""
    if not request.path.startswith("/api/"):
        return html_server_error(request)
    return response(Problem(500, "This is our fault, and it has been logged."))
