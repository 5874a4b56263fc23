"""Polls of who was let in a moment ago, answered before the rest of Django is asked.

Nine in ten polls learn that nothing has changed, so what they cost is what an open page costs. Once
one has come the whole way, the same session may ask for the same address again for as long as the
rights that it was let in with are kept. What could end that is read each time, in the round trip
that finds the part: whether the session lives and whether anybody's rights have changed. A poll
that is anything else goes the whole way.
See docs/decisions/0022-polls-by-a-short-way.md.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from jobs import origin, outages, people, sessions, snapshot
from jobs.memory import Memory

REMEMBERED = 2_000  # sessions with an address, in this process
BODIES = 50  # rendered parts in this process
MOST_BYTES = 500_000  # of one of them
REV = re.compile(r"(?:^|&)rev=([0-9a-f]*)(?=&|$)")  # one with more in it: a store was away
OF_ONE_ANSWER = ("Content-Length", origin.HEADER)


@dataclass(frozen=True)
class _Poll:
    """What a poll asks for, and as whom."""

    name: str
    session: str  # the key that Redis keeps it by
    rev: str  # that the page has


@dataclass(frozen=True)
class _LetIn:
    """A session at an address, as the whole way found it."""

    part_key: str
    reading: people.Kept  # of who asks, and their rights
    until: float  # then its session is too old
    headers: dict[str, str]


_let_in: Memory[_LetIn] = Memory(REMEMBERED)
_bodies: Memory[tuple[tuple[str, str], bytes]] = Memory(BODIES)


class PollsMiddleware:
    """The outermost: an answer by the short way has the headers that the whole way gave."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        poll = _read(request)
        if poll is None:
            return self.get_response(request)
        return _answer(poll) or _learn(poll, request, self.get_response(request))


def _read(request: HttpRequest) -> _Poll | None:
    """Return what is asked; `None`: it is no poll, or not one that may go the short way."""
    if request.method != "GET" or request.headers.get("HX-Request") != "true":
        return None
    session = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    asked = request.META["QUERY_STRING"]
    revs = REV.findall(asked)
    if not session or len(revs) != 1 or "HX-History-Restore-Request" in request.headers:
        return None
    kept_as = sessions.redis_key(session)
    # The path last: it alone may hold a newline.
    where = (request.scheme or "", request.META.get("HTTP_HOST", ""), REV.sub("", asked))
    return _Poll("\n".join([kept_as, *where, request.path]), kept_as, revs[0])


def _answer(poll: _Poll) -> HttpResponse | None:
    known = _let_in.get(poll.name)
    if known is None or time.monotonic() > known.until or outages.current():
        return None
    found = snapshot.find(known.part_key, poll.session)
    if not (found.session and found.fresh and found.people == known.reading.version):
        return None
    if not people.is_current(known.reading):
        return None
    if found.rev == poll.rev:
        return HttpResponse(status=204, headers=known.headers | {"Content-Length": "0"})
    told, body = _bodies.get(known.part_key) or (None, b"")
    if told != (found.rev, found.at):
        return None
    return HttpResponse(body, headers=known.headers | {"Content-Length": f"{len(body)}"})


def _learn(poll: _Poll, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Remember who was let in, and what they were shown."""
    part_key = getattr(request, "part_key", None)
    if part_key is None or response.status_code not in (200, 204) or "HX-Refresh" in response:
        return response
    user: User = request.user  # type: ignore[assignment]
    if reading := people.kept_of(user):
        until = time.monotonic() + sessions.seconds_left(request.session)
        headers = {name: each for name, each in response.items() if name not in OF_ONE_ANSWER}
        _let_in.put(poll.name, _LetIn(part_key, reading, until, headers))
    told = getattr(request, "told", None)
    if told and isinstance(response, HttpResponse) and len(response.content) <= MOST_BYTES:
        _bodies.put(part_key, (told, response.content))
    return response
