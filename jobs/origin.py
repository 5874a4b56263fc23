"""Where a change comes from: the request, its address, and by which door. The audit writes it down.

A ContextVar, so that services need no parameter for it. Code that runs outside of a request is a
command, or the job that runs there.
"""

import re
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest

from jobs import context

Via = Literal["page", "api", "admin", "command", "worker"]
HEADER = "X-Request-ID"
SAFE = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # no line end: it goes into logs and headers


@dataclass(frozen=True, slots=True)
class Origin:
    """By which door somebody came; empty is unknown. `token`: the name of the API token, if any."""

    request_id: str
    address: str
    via: Via
    token: str = ""


_origin: ContextVar[Origin] = ContextVar("origin")
set = _origin.set  # noqa: A001 - reads as origin.set
reset = _origin.reset


def current() -> Origin:
    """Return the origin of what runs here."""
    return _origin.get(None) or _outside()


def _outside() -> Origin:
    try:
        return Origin(context.current().job_id, "", "worker")
    except LookupError:
        return Origin("", "", "command")


def name_token(name: str) -> None:
    """Say by which API token the request came, once that is known."""
    set(replace(current(), token=name[:150]))


def of_request(request: HttpRequest) -> Origin:
    """Return the origin of a request, with the id that it brings, or a new one."""
    given = request.headers.get(HEADER, "")
    request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
    return Origin(request_id, address_of(request), _door(request.path_info))


def page_of(request: HttpRequest) -> str:
    """Return the address of the page that somebody is on: one that a form is sent to is none."""
    if request.method in SAFE:
        return request.get_full_path()
    try:
        page = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return "/"
    if page.netloc != request.get_host():
        return "/"
    return urlunsplit(("", "", "/" + page.path.lstrip("/"), page.query, ""))


def _door(path: str) -> Via:
    return "api" if path.startswith("/api/") else "admin" if path.startswith("/admin/") else "page"


def address_of(request: HttpRequest) -> str:
    """Return the client's address, past as many proxies as `TRUSTED_PROXIES` says.

    Each proxy adds to the right of X-Forwarded-For whom it heard from; what stands further left is
    the client's own invention.
    """
    heard: str = request.META.get("REMOTE_ADDR", "")
    if settings.TRUSTED_PROXIES:
        named = request.headers.get("X-Forwarded-For", "").split(",")
        chain = [part.strip() for part in named if part.strip()]
        heard = chain[-settings.TRUSTED_PROXIES :][0] if chain else heard
    return heard[:64]
