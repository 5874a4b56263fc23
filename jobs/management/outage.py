"""What an operator reads when a store is down: what happened, what it means, what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import django.db
from django.core.management.base import CommandError
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from jobs.errors import StoreDown


@contextmanager
def outage(meaning: str) -> Iterator[None]:
    """Raise `CommandError` where a store is down; `meaning` says what that does to this command."""
    try:
        yield
    except (StoreDown, PyMongoError, django.db.Error) as error:
        raise CommandError(
            f"MongoDB did not answer. {meaning}\n"
            "Check that it runs and that MONGODB_URI names it, then try again.\n"
            f"It said: {_short(error)}"
        ) from error
    except RedisError as error:
        raise CommandError(
            "Redis did not answer. Every accepted job is safe in MongoDB, but workers get none "
            "until it is back.\nCheck that it runs and that REDIS_URL names it, then try again.\n"
            f"It said: {_short(error)}"
        ) from error


def _short(error: Exception) -> str:
    return str(error).partition(", Timeout:")[0][:300]
