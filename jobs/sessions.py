"""Sessions kept under the SHA-256 of their key: whoever reads the stores cannot use one.

The cookie has the key; MongoDB and Redis have its hash alone. While both are away, who was here a
moment before goes on reading.
"""

import hashlib
import time
from typing import Any

import structlog
from django.conf import settings
from django.contrib.sessions.backends import cached_db
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache import caches
from django.utils import timezone

from jobs import mongodb, outages
from jobs.memory import Memory

log = structlog.get_logger(__name__)
REMEMBERED = 1_000  # sessions in this process
LATELY_SECONDS = 90.0  # before an outage: whoever was here by then is known without a store
_kept: Memory[tuple[dict[str, Any], float]] = Memory(REMEMBERED)


def kept_as(session_key: str | None) -> str | None:
    """Return under which name a session is stored; 40 characters are what Django's model holds."""
    return session_key and hashlib.sha256(session_key.encode()).hexdigest()[:40]


def redis_key(session_key: str) -> str:
    """Return the key under which Redis has the session."""
    name = f"{SessionStore.cache_key_prefix}{kept_as(session_key)}"
    return str(caches[settings.SESSION_CACHE_ALIAS].make_key(name))


def seconds_left(session: SessionBase) -> float:
    """Return how long a session lives if nobody uses it; negative: it has ended."""
    now = mongodb.clock.about().timestamp()
    idle, age = now - session["used"], now - session["began"]
    return float(min(settings.SESSION_IDLE_SECONDS - idle, settings.SESSION_MAX_SECONDS - age))


def _was_here(seen: float) -> bool:
    """Whether a session was seen, at this machine's time, until shortly before the outage."""
    since = outages.mongodb.since
    return since is not None and seen > since.timestamp() - LATELY_SECONDS


class SessionStore(cached_db.SessionStore):
    """Django's `cached_db`, which looks every key up by its hash."""

    cache_key_prefix = "jobs.sessions."

    @property
    def cache_key(self) -> str:
        return f"{self.cache_key_prefix}{kept_as(self._get_or_create_session_key())}"  # type: ignore[attr-defined]

    def load(self) -> dict[str, Any]:
        """Return what the session holds. Raises as MongoDB's absence shows."""
        name = f"{settings.REDIS_PREFIX} {kept_as(self.session_key)}"
        try:
            data: dict[str, Any] = super().load()
        except outages.ERRORS:
            kept = _kept.get(name)
            if kept is None or not _was_here(kept[1]):
                raise
            return dict(kept[0])
        if data:
            _kept.put(name, (data, time.time()))
        else:
            _kept.forget(name)
        return data

    def save(self, must_create: bool = False) -> None:
        """Write the session down. While MongoDB is away, only a new one has to be."""
        try:
            with outages.mongodb.asked():
                super().save(must_create)
        except outages.ERRORS as error:
            if must_create:
                raise
            log.warning("session.unsaved", error=str(error)[:200])

    def _get_session_from_db(self) -> Any:
        alive = {"session_key": kept_as(self.session_key), "expire_date__gt": timezone.now()}
        with outages.mongodb.asked():
            found = self.model.objects.filter(**alive).first()
        if found is None:
            self._session_key = None
        return found

    def exists(self, session_key: str | None) -> bool:
        return session_key is not None and super().exists(kept_as(session_key) or "")

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        made = super().create_model_instance(data)
        made.session_key = kept_as(made.session_key) or ""
        return made

    def delete(self, session_key: str | None = None) -> None:
        given = session_key or self.session_key
        if given is not None:
            super().delete(kept_as(given))
