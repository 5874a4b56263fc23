"""What MongoDB does, as its own profiler tells it."""

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.clients import Document, mongo


@contextmanager
def profiled() -> Iterator[list[Document]]:
    """Yield a list that has, afterwards, an entry for each operation on this test's database."""
    entries: list[Document] = []
    mongo().command("profile", 2)
    try:
        yield entries
    finally:
        mongo().command("profile", 0)
        entries += mongo()["system.profile"].find()
        mongo()["system.profile"].drop()
