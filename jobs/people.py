"""Who asks. A poll does not ask MongoDB for that: users and their rights are kept a while.

A change of a user, a role, a group or a token counts up `version`, which every poll reads with its
part, and every call of the API by itself. So it holds from the next one on; for polls without
Redis, after `KEPT_SECONDS`. Pages and actions ask MongoDB, unless that is away: then who was known
goes on reading, and changes nothing.
"""

import time
from contextlib import suppress
from dataclasses import dataclass

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from redis.exceptions import RedisError

from jobs import outages, roles
from jobs.clients import redis
from jobs.memory import Memory
from jobs.origin import SAFE

KEPT_SECONDS = 120.0
REMEMBERED = 1_000  # users in this process


@dataclass(frozen=True)
class Kept:
    """A user with their rights, as they were at a version."""

    user: User
    version: str
    until: float


class _Version:
    """The version that this process saw last, and how often it changed somebody itself."""

    seen = ""
    own = 0


_kept: Memory[Kept] = Memory(REMEMBERED)


def version_key() -> str:
    """STRING: how often a user, a role, a group or a token was changed."""
    return f"{settings.REDIS_PREFIX}:people"


def see(version: str) -> None:
    """Take note of the version there is: who was kept at another is asked for again."""
    _Version.seen = version


def version() -> str | None:
    """Return the version that Redis has; `None`: it does not answer, and nobody may be kept."""
    try:
        with outages.redis.asked():
            return f"{redis().get(version_key()) or ''!s} {_Version.own}"
    except outages.NO_REDIS:
        return None


def changed() -> None:
    """Say that a user, a role, a group or a token is not as it was."""
    forget()
    _Version.own += 1
    with suppress(RedisError):  # then the other processes ask again after KEPT_SECONDS
        redis().incr(version_key())  # even if Redis was away a moment ago


def forget() -> None:
    """Have this process ask for everybody again."""
    _kept.clear()


def is_poll(request: HttpRequest) -> bool:
    """A page that is left open asks every two seconds: that is no sign of a person."""
    if request.path_info.startswith("/api/"):
        return False
    return request.method in SAFE and "HX-Request" in request.headers


def asking(request: HttpRequest) -> User | AnonymousUser:
    """Return who asks, their rights read. Raises `StoreDown`, or what Django does."""
    id = request.session.get(auth.SESSION_KEY)
    kept = _kept.get(_name(id)) if id else None
    if kept and kept.version != _Version.seen:
        kept = None
    if kept and is_poll(request) and time.monotonic() < kept.until:
        return _verified(request, kept.user)
    version = _Version.seen
    try:
        with outages.mongodb.asked():
            user = auth.get_user(request)
            roles.rights_of(user)
    except outages.ERRORS:
        if kept is None or request.method not in SAFE:
            raise
        return _verified(request, kept.user)
    if isinstance(user, User):
        kept = Kept(user, version, time.monotonic() + KEPT_SECONDS)
        user.kept = kept  # type: ignore[attr-defined]
        _kept.put(_name(id), kept)
    return user  # type: ignore[return-value]


def is_outdated(user: User) -> bool:
    """Return whether the rights of `user` may have changed since they were read."""
    kept = _kept.get(_name(user.pk))
    return kept is None or kept.version != _Version.seen


def kept_of(user: User) -> Kept | None:
    """Return what is kept of the reading that `user` is from; `None`: nothing."""
    return getattr(user, "kept", None)


def is_current(kept: Kept) -> bool:
    """Return whether this very reading still holds: another may be of the same version."""
    return _kept.get(_name(kept.user.pk)) is kept and time.monotonic() < kept.until


def _name(id: object) -> str:
    return f"{settings.REDIS_PREFIX} {id}"


def _verified(request: HttpRequest, user: User) -> User | AnonymousUser:
    """Return `user` if the session is from their present password, as Django checks it."""
    told = request.session.get(auth.HASH_SESSION_KEY, "")
    return user if constant_time_compare(told, user.get_session_auth_hash()) else AnonymousUser()
