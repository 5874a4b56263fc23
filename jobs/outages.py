"""Which store does not answer, and since when, as this process has seen it.

While one is away, one thread at a time tries whether it is back: the others do not wait for it.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

import pymongo
from django.db import Error as DatabaseError
from pymongo.errors import ConnectionFailure, PyMongoError
from redis.exceptions import RedisError

from jobs.errors import StoreDown

ERRORS = (StoreDown, PyMongoError, DatabaseError)  # how MongoDB's absence shows
NO_REDIS = (RedisError, StoreDown)
PAUSE_SECONDS = 2.0  # between two tries
TRY_SECONDS = 10.0  # how long a try may take before another thread makes its own
HURRY_SECONDS = 3.0  # how long MongoDB may take while it is known to be away


@dataclass(frozen=True)
class Outage:
    """A store that does not answer."""

    store: str
    since: datetime  # by this machine's clock: when it was first seen


class Store:
    """One of the two, and whether it answered last."""

    def __init__(self, name: str, errors: tuple[type[Exception], ...]) -> None:
        self.name, self.errors = name, errors
        self.since: datetime | None = None
        self._next_try = float("-inf")

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Run what asks the store. Raises `StoreDown` at once while others have no answer."""
        if self.since and time.monotonic() < self._next_try:
            raise StoreDown(f"{self.name} does not answer")
        self._next_try = time.monotonic() + TRY_SECONDS
        try:
            with self.hurried():
                yield
        except self.errors as error:
            self._next_try = time.monotonic() + PAUSE_SECONDS
            if _is_absence(error):
                self.since = self.since or datetime.now(UTC)
            raise
        except BaseException:
            self._next_try = float("-inf")  # it says nothing about the store
            raise
        self.since = None

    def hurried(self) -> AbstractContextManager[object]:
        """Have MongoDB answer soon if it did not last time: it is most likely still away."""
        return pymongo.timeout(HURRY_SECONDS) if self.since else nullcontext()


def _is_absence(error: BaseException) -> bool:
    """Whether a store was not there, rather than slow or unwilling to do this one thing."""
    cause = error.__cause__ or error
    return not isinstance(cause, PyMongoError) or isinstance(cause, ConnectionFailure)


mongodb = Store("MongoDB", ERRORS)
redis = Store("Redis", (RedisError,))


def current() -> list[Outage]:
    """Return the stores that do not answer."""
    return [Outage(store.name, store.since) for store in (mongodb, redis) if store.since]


def forget() -> None:
    """Take both for present again."""
    mongodb.since = redis.since = None
