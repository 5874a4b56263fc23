"""Connections to the two stores: one MongoDB client and one Redis pool a process.

They are made on first use: nothing here may run before a worker has been forked.
"""

from functools import cache
from typing import Any

from bson.codec_options import CodecOptions
from django.conf import settings
from django.db import connection
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.write_concern import WriteConcern
from redis import Redis, __version__
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ReadOnlyError
from redis.retry import Retry

Document = dict[str, Any]

# A write is acknowledged once a majority has it in its journal; no reply in 5 s is ambiguous.
DURABLE = WriteConcern(w="majority", j=True, wtimeout=5000)
AWARE: CodecOptions[Document] = CodecOptions(tz_aware=True)
BLOCK_SECONDS = 1.0  # how long a fetch sleeps in Redis
REDIS_PY = DriverInfo(lib_version=__version__)  # not looked up anew in each process: 1.4 MB
REPLY_SECONDS = 3.0  # how much longer its socket waits before the connection counts as dead


def mongo() -> Database[Document]:
    """Return the database that Django's ORM uses too: one client, one pool."""
    return connection.database  # type: ignore[attr-defined, no-any-return]


def collection(name: str) -> Collection[Document]:
    """Return a collection whose writes are durable and whose dates carry their zone."""
    return mongo().get_collection(name, codec_options=AWARE, write_concern=DURABLE)


def _redis(url: str, socket_timeout: float) -> Redis:
    # redis-py retries ten times by default: one lost reply would eat an id or push it twice.
    return Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        # It then leaves the connection, too: a demoted master keeps them, as a replica, for ever.
        retry_on_error=[ReadOnlyError],
        socket_timeout=socket_timeout,
        socket_connect_timeout=1,
        socket_keepalive=True,
        health_check_interval=15,
        decode_responses=True,
        encoding_errors="backslashreplace",  # what somebody put into a lane must not raise
        driver_info=REDIS_PY,
    )


@cache
def _shared_redis(url: str) -> Redis:
    return _redis(url, socket_timeout=2)


def redis() -> Redis:
    """Return the process's Redis client for commands that answer at once; it never retries."""
    return _shared_redis(settings.REDIS_URL)


def blocking_redis() -> Redis:
    """Return a new client for fetching: its socket waits longer than the command blocks."""
    return _redis(settings.REDIS_URL, socket_timeout=BLOCK_SECONDS + REPLY_SECONDS)
