"""API tokens: `tq_<8 characters that name it>_<secret>`. Only a SHA-256 of it is kept."""

import hashlib
import hmac
import secrets
import string
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from bson import ObjectId
from django.conf import settings
from django.contrib.auth.models import User

from jobs import mongodb, people, roles
from jobs.errors import FieldError, InvalidRequest, NotFound
from jobs.memory import Memory
from jobs.models import ApiToken
from jobs.registry import NAME

PREFIX = "tq"
PUBLIC_LENGTH = 8
LETTERS = string.ascii_lowercase + string.digits
NAME_LENGTH = 100
MAX_QUEUES = 50
USED_EVERY = timedelta(minutes=1)  # how often the last use is written down, at most
KEPT_SECONDS = 5.0  # how long a change may stay unseen that Redis could not tell of
REMEMBERED = 1_000  # tokens in this process


class TokenRefused(Exception):
    """A token that cannot be used; the message says why."""


def digest(token: str) -> str:
    """Return what is kept of a token. A plain hash is enough: a token is 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def public_part(token: str) -> str:
    """Return what names a token in lists; one of an older version is named by its digest."""
    parts = token.split("_", 2)
    if len(parts) == 3 and parts[0] == PREFIX and len(parts[1]) == PUBLIC_LENGTH:
        return parts[1]
    return digest(token)[:PUBLIC_LENGTH]


def issue(
    user: User,
    *,
    name: str = "",
    role: roles.Role | Literal[""] = "",
    queues: Iterable[str] = (),
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Make a token for `user`; return its record and the token: this once.

    It may what both its role and its user may, in these queues (none: all). Raises
    `InvalidRequest`.
    """
    queues = list(dict.fromkeys(queues))
    check(name=name, role=role, queues=queues, expires_at=expires_at)
    if role:
        roles.group(role)  # one that is missing allows nothing
    public = "".join(secrets.choice(LETTERS) for _ in range(PUBLIC_LENGTH))
    token = f"{PREFIX}_{public}_{secrets.token_urlsafe(32)}"
    made = ApiToken.objects.create(
        user=user,
        name=name or user.get_username()[:NAME_LENGTH],
        public=public,
        digest=digest(token),
        role=role,
        queues=queues,
        expires_at=expires_at,
        created_at=mongodb.now(),
    )
    return made, token


def check(
    *,
    name: str = "",
    role: str = "",
    queues: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> None:
    """Raise `InvalidRequest` if no such token can be made."""
    if faults := [*_faults(name, role, queues), *_expiry_faults(expires_at)]:
        raise InvalidRequest(*faults)


def _faults(name: str, role: str, queues: Sequence[str]) -> list[FieldError]:
    faults = []
    if len(name) > NAME_LENGTH or not name.isprintable():
        faults.append(FieldError("name", f"Use at most {NAME_LENGTH} printable characters."))
    if role and role not in roles.ROLES:
        faults.append(FieldError("role", f"Use one of: {', '.join(roles.ROLES)}."))
    if len(queues) > MAX_QUEUES:
        faults.append(FieldError("queues", f"Name at most {MAX_QUEUES} queues, or none for all."))
    if bad := [queue for queue in queues if not NAME.fullmatch(queue)]:
        fault = f"{bad[0][:64]!r} is no name of a queue: use letters, digits, dots, dashes and "
        faults.append(FieldError("queues", f"{fault}underscores, at most 64."))
    return faults


def _expiry_faults(expires_at: datetime | None) -> list[FieldError]:
    if expires_at is not None and expires_at <= mongodb.now():
        return [FieldError("expires_at", "Use a time that is still to come, or none.")]
    return []


@dataclass(frozen=True)
class _Kept:
    """A token with its user and their rights, as they were at a version of people."""

    token: ApiToken
    version: str
    until: float


_kept: Memory[_Kept] = Memory(REMEMBERED)


def identify(text: str) -> ApiToken:
    """Return the record of a token that may be used now, its user bound to what it may.

    Raises `TokenRefused`, which says why, and `StoreDown`. A token that was just read is not read
    again while nobody's rights change: see `jobs.people`.
    """
    name, version = f"{settings.REDIS_PREFIX} {digest(text)}", people.version()
    kept = _kept.get(name)
    if kept and kept.version == version and time.monotonic() < kept.until:
        found = kept.token
    else:
        found = _read(text)
        if version is not None:
            _kept.put(name, _Kept(found, version, time.monotonic() + KEPT_SECONDS))
    _check(found)
    return found


def _read(text: str) -> ApiToken:
    named = ApiToken.objects.filter(public=public_part(text)).select_related("user")
    found: ApiToken | None = named.first()
    if found is None or not hmac.compare_digest(found.digest, digest(text)):
        raise TokenRefused("This token is unknown. Send the whole of it, as it was shown once.")
    roles.bind(found.user, found.role, found.queues)
    roles.rights_of(found.user)
    return found


def _check(found: ApiToken) -> None:
    now = mongodb.now()
    if found.revoked_at is not None:
        raise TokenRefused("This token was revoked. Ask an admin for a new one.")
    if found.expires_at is not None and found.expires_at <= now:
        raise TokenRefused("This token has expired. Ask an admin for a new one.")
    if not found.user.is_active:
        raise TokenRefused("This token belongs to a user who is not active.")
    if found.last_used_at is None or now - found.last_used_at > USED_EVERY:
        ApiToken.objects.filter(pk=found.pk).update(last_used_at=now)
        found.last_used_at = now


def revoke(id: str) -> ApiToken:
    """End a token at once; its record stays. Raises `NotFound`."""
    named = ApiToken.objects.filter(pk=ObjectId(id) if ObjectId.is_valid(id) else None)
    found: ApiToken | None = named.first()
    if found is None:
        raise NotFound(f"There is no token {id}.")
    try:
        named.filter(revoked_at=None).update(revoked_at=mongodb.now())
    finally:
        people.changed()  # it may be written though its reply was lost
    return found
