"""What this process remembers: a bounded number of things; what was not used longest goes first."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class Memory(Generic[V]):
    """At most so many values by their keys, for all threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[str, V] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, value: V) -> None:
        """Remember `value`, and forget the one that was not used longest if there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._most:
                self._values.popitem(last=False)

    def get(self, key: str) -> V | None:
        """Return what is remembered; `None`: nothing."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def forget(self, key: str) -> None:
        """Forget one value, if it is there."""
        with self._lock:
            self._values.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
