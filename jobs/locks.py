"""Locks by which one of several processes does what all would do: they save work, no more."""

from jobs import outages
from jobs.clients import redis


def take(key: str, seconds: float) -> bool:
    """Return whether to do it now: `False` while somebody else does, for so long at most.

    Without Redis everybody does.
    """
    try:
        with outages.redis.asked():
            return bool(redis().set(key, 1, nx=True, px=round(seconds * 1000)))
    except outages.NO_REDIS:
        return True
