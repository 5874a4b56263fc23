"""Lets callers share a write: whoever comes while one is under way goes with the next one."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Place(Generic[T]):
    """One caller's item, and what became of it."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.written = False
        self.error: Exception | None = None


class Shared(Generic[T]):
    """One write at a time, of all that has come by then, up to `most` items."""

    def __init__(self, write: Callable[[list[T]], object], most: int) -> None:
        self._write = write
        self._most = most
        self._turn = threading.Lock()
        self._waiting: list[_Place[T]] = []

    def add(self, item: T) -> None:
        """Return when `item` is written. Raises what the write of its group raised."""
        place = _Place(item)
        self._waiting.append(place)
        with self._turn:
            while not place.written:
                self._write_group()
        if place.error:
            raise place.error

    def _write_group(self) -> None:
        group = self._waiting[: self._most]
        del self._waiting[: len(group)]  # no more: somebody may have come in between
        error = None
        try:
            self._write([place.item for place in group])
        except Exception as raised:
            error = raised
        for place in group:
            place.written, place.error = True, error
