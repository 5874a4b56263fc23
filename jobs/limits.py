"""How much one caller may ask within a minute. Counted in Redis, once for all web processes.

Without Redis nobody is refused: a limit protects the stores, and must not be what stops the work.
"""

from dataclasses import dataclass
from typing import Literal

import structlog
from django.conf import settings
from redis.exceptions import RedisError

from jobs.clients import redis
from jobs.errors import RateLimited
from jobs.lanes import Breaker, script

log = structlog.get_logger(__name__)
Kind = Literal["submit", "read", "write", "unknown"]
WINDOW_SECONDS = 60
UNITS = {"submit": "jobs", "read": "reads", "write": "changes", "unknown": "failed log-ins"}
_breaker = Breaker()


@dataclass(frozen=True)
class Allowance:
    """What is left of a limit."""

    limit: int
    remaining: int
    reset_seconds: int  # until there is more

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }


def key(kind: Kind, who: str) -> str:
    """HASH of how many were taken in each second."""
    return f"{settings.REDIS_PREFIX}:limit:{kind}:{who}"


def take(kind: Kind, who: str, cost: int = 1) -> Allowance | None:
    """Take `cost` of what `who` may ask within a minute, all of it or nothing.

    `None`: there is no limit, or no Redis to count. Raises `RateLimited`.
    """
    limit: int = getattr(settings, f"RATE_LIMIT_{kind.upper()}")
    if not limit or _breaker.open():
        return None
    try:
        counting = redis().register_script(script("limit"))
        taken = counting(keys=[key(kind, who)], args=[cost, limit, WINDOW_SECONDS])
        allowed, remaining, wait = taken
    except RedisError as error:
        _breaker.trip()
        log.warning("limits.uncounted", error=str(error)[:200], meaning="nobody is refused now")
        return None
    allowance = Allowance(limit, remaining, wait)
    if not allowed:
        raise RateLimited(_refusal(kind, cost, limit, wait), allowance, wait=cost <= limit)
    return allowance


def _refusal(kind: Kind, cost: int, limit: int, wait: int) -> str:
    rule = f"At most {limit} {UNITS[kind]} within {WINDOW_SECONDS} s"
    if cost > limit:
        return f"{rule}; these are {cost} at once. Nothing was done: send them in smaller parts."
    return f"{rule}. Nothing was done: try again in {wait} s."
