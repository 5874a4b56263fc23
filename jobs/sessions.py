"""Sessions kept under the SHA-256 of their key: whoever reads the stores cannot use one.

The cookie has the key; MongoDB and Redis have its hash alone.
"""

import hashlib
from typing import Any

from django.contrib.sessions.backends import cached_db
from django.utils import timezone


def kept_as(session_key: str | None) -> str | None:
    """Return under which name a session is stored; 40 characters are what Django's model holds."""
    return session_key and hashlib.sha256(session_key.encode()).hexdigest()[:40]


class SessionStore(cached_db.SessionStore):
    """Django's `cached_db`, which looks every key up by its hash."""

    cache_key_prefix = "jobs.sessions."

    @property
    def cache_key(self) -> str:
        return f"{self.cache_key_prefix}{kept_as(self._get_or_create_session_key())}"  # type: ignore[attr-defined]

    def _get_session_from_db(self) -> Any:
        alive = {"session_key": kept_as(self.session_key), "expire_date__gt": timezone.now()}
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
