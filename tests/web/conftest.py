"""What the tests of pages share: users of each role, their clients, and jobs in every state."""

from collections.abc import Iterator

import pytest
from pytest_django.plugin import DjangoDbBlocker


@pytest.fixture(autouse=True)
def _database(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let Django reach MongoDB: the `stores` fixture makes and drops the database itself."""
    with django_db_blocker.unblock():
        yield
