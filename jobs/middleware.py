"""What every answer carries, and what a page answers when MongoDB does not."""

from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from pymongo.errors import PyMongoError

from jobs.errors import StoreDown
from jobs.problems import RETRY_SECONDS, SAFE, too_slow

log = structlog.get_logger(__name__)


class HeadersMiddleware:
    """Headers for browsers that Django has no setting for."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers["Permissions-Policy"] = settings.PERMISSIONS_POLICY
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response


class StoreDownMiddleware:
    """Answer 503 where a view met a store that is down, whoever noticed it first."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, StoreDown | PyMongoError | DatabaseError):
            return None
        log.error("page.store_down", path=request.path, error=str(error))
        # Without the request: its user and its messages would ask the same store again.
        slow = request.method in SAFE and too_slow(error)
        template = "503_slow.html" if slow else "503.html"
        page = render_to_string(template, {"retry_path": request.path})
        return HttpResponse(page, status=503, headers={"Retry-After": str(RETRY_SECONDS)})
