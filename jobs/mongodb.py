"""How MongoDB is called: failures told apart, what is lost repeated, and the time that it has."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo.client_session import ClientSession
from pymongo.errors import AutoReconnect, DocumentTooLarge, PyMongoError

from jobs.clients import mongo
from jobs.errors import StoreDown, Unstorable

P = ParamSpec("P")
R = TypeVar("R")

# The longest that one call waits for MongoDB, a repetition included: whoever is cut off notices
# well before WORKER_LOST_SECONDS, and is back within seconds of the store.
CALL_SECONDS = 6.0
BY_ID = "_id_"  # a hint; else MongoDB tries all indexes of a state, past what has left it lately
QUERY_SECONDS = 5.0  # a question may not hold up the store for longer
TOO_LARGE = {10334, 17419, 17420}  # MongoDB's codes for a document over 16 MB


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise `Unstorable` for what MongoDB can never hold, `StoreDown` for all else that fails."""
    try:
        yield
    except (BSONError, DocumentTooLarge) as error:
        raise Unstorable(f"MongoDB cannot hold it: {error}"[:500]) from error
    except PyMongoError as error:
        if getattr(error, "code", None) in TOO_LARGE:
            raise Unstorable(f"MongoDB cannot hold it: {error}"[:500]) from error
        details = getattr(error, "details", None) or {}
        raise StoreDown(f"MongoDB: {details.get('errmsg') or error}"[:500]) from error


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Have MongoDB stop what takes longer; raises as `store_errors`."""
    with store_errors(), pymongo.timeout(seconds):
        yield


def repeated(function: Callable[P, R]) -> Callable[P, R]:
    """Run a read or write that may safely be repeated: once more after a lost reply."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with store_errors():
            try:
                return function(*args, **kwargs)
            except AutoReconnect:
                return function(*args, **kwargs)

    return wrapper


def durable(function: Callable[P, R]) -> Callable[P, R]:
    """As `repeated`, within `CALL_SECONDS` in all. A question that may be slow limits itself."""
    twice = repeated(function)

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with pymongo.timeout(CALL_SECONDS):
            return twice(*args, **kwargs)

    return wrapper


def catch_up(session: ClientSession) -> None:
    """Have what follows in this session find all that anyone has read before it.

    What a majority has, and what a transaction sees, is otherwise older by the moment that other
    writes take.
    """
    mongo().command("ping", session=session)  # its reply says what there is to wait for


# --- its clock --------------------------------------------------------------------------------


def _told() -> datetime:
    """Ask the node that takes the writes for its time."""
    told: datetime = mongo().client.admin.command("hello")["localTime"]
    return told.replace(tzinfo=UTC)


class Clock:
    """MongoDB's time, carried on by this machine's monotonic clock between two readings."""

    REREAD_SECONDS = 60.0

    def __init__(self) -> None:
        self.read_at = float("-inf")
        self.server = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """Return MongoDB's time; raises what its driver does. Callers without a guard: `now`."""
        if time.monotonic() - self.read_at > self.REREAD_SECONDS:
            asked = time.monotonic()
            self.server = _told()
            self.read_at = (asked + time.monotonic()) / 2
        return self.server + timedelta(seconds=time.monotonic() - self.read_at)

    def about(self) -> datetime:
        """Return MongoDB's time without asking for it; this machine's, if it was never told."""
        if self.read_at == float("-inf"):
            return datetime.now(UTC)
        return self.server + timedelta(seconds=time.monotonic() - self.read_at)


clock = Clock()


@durable
def now() -> datetime:
    """Return MongoDB's time, in UTC, to within a network round trip."""
    return clock.now()


@durable
def server_time() -> datetime:
    """Return MongoDB's time, read now from the node that takes the writes."""
    return _told()
