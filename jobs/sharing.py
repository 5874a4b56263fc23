"""Two ways not to wait for a write: go together with other callers, or prepare the next one."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Generic, Self, TypeVar

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
        group, self._waiting[: self._most] = self._waiting[: self._most], []
        error = None
        try:
            self._write([place.item for place in group])
        except Exception as raised:
            error = raised
        for place in group:
            place.written, place.error = True, error


class Behind:
    """Makes calls one after another on a thread of its own, while its user prepares the next."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._last: Future[object] | None = None

    def __enter__(self) -> Self:
        return self

    def call(self, function: Callable[[], object]) -> None:
        """Have `function` called in this context. Raises what the call before it raised."""
        self.wait()
        self._last = self._pool.submit(copy_context().run, function)

    def wait(self) -> None:
        """Return when the last call has. Raises what it raised."""
        if self._last:
            self._last.result()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._pool:  # which waits for the last call
            if kind is None:
                self.wait()
