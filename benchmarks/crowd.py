"""Open pages that poll, all played by one process: each asks every two seconds with the rev it has.

Plain sockets in one thread, so that playing them costs little: real viewers sit elsewhere.
"""

import heapq
import itertools
import random
import re
import selectors
import socket
import time
from collections import Counter
from multiprocessing.connection import Connection

EVERY_SECONDS = 2.0
PATHS = ("/", "/jobs/", "/dead/", "/queues/", "/workers/")
REV = re.compile(rb'name="rev" value="([^"]+)"')
LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")
Seen = tuple[Counter[int], list[float]]  # answers by their status, and how long each took


class Page:
    """One page that somebody has open."""

    def __init__(self, port: int, path: str, session: str) -> None:
        self._address = ("127.0.0.1", port)
        self._lines: socket.socket | None = None
        self._path, self._session = path, session
        self._rev, self._unread = b"", b""
        self.asked: float | None = None  # since when it waits for an answer

    def ask(self, watch: selectors.BaseSelector) -> None:
        """Ask as htmx does, on the connection there is or, once it was closed, on another."""
        self.asked, self._unread = self.asked or time.monotonic(), b""
        head = f"GET {self._path}?rev={self._rev.decode()} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        said = f"{head}HX-Request: true\r\nCookie: sessionid={self._session}\r\n\r\n".encode()
        try:
            self._connected(watch).sendall(said)
        except ConnectionError:
            self._close(watch)
            self._connected(watch).sendall(said)

    def read(self, watch: selectors.BaseSelector) -> int | None:
        """Return the status of the answer once it is there whole."""
        assert self._lines
        try:
            chunk = self._lines.recv(1 << 20)
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._close(watch)
            if self.asked:
                self.ask(watch)
            return None
        self._unread += chunk
        head, ended, body = self._unread.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not ended or len(body) < int(length[1] if length else 0):
            return None
        if match := REV.search(body):
            self._rev = match[1]
        if b"\r\nConnection: close" in head:
            self._close(watch)
        return int(head[9:12])

    def _connected(self, watch: selectors.BaseSelector) -> socket.socket:
        if self._lines is None:
            self._lines = socket.create_connection(self._address)
            watch.register(self._lines, selectors.EVENT_READ, self)
        return self._lines

    def _close(self, watch: selectors.BaseSelector) -> None:
        if self._lines:
            watch.unregister(self._lines)
            self._lines.close()
            self._lines = None


class Crowd:
    """Everybody who looks, and who tells them what to do."""

    def __init__(self, port: int, sessions: list[str], told: Connection) -> None:
        self._told = told
        self._watch = selectors.DefaultSelector()
        self._watch.register(told, selectors.EVENT_READ)
        paths = itertools.cycle(PATHS)
        self._pages = [Page(port, next(paths), each) for each in sessions]
        self._due: list[tuple[float, int]] = []  # who asks when; empty: nobody looks
        self._statuses, self._took = Counter[int](), list[float]()

    def run(self) -> None:
        """Do as told until it is `end`."""
        word = ""
        while word != "end":
            self._ask()
            left = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, _ in self._watch.select(left):
                if key.fileobj is self._told:
                    self._obey(word := self._told.recv())
                else:
                    self._read(key.data)

    def _ask(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, number = heapq.heapreplace(self._due, (now + EVERY_SECONDS, self._due[0][1]))
            if self._pages[number].asked is None:
                self._pages[number].ask(self._watch)

    def _obey(self, word: str) -> None:
        if word == "tell":
            self._told.send((self._statuses, self._took))
            self._statuses, self._took = Counter[int](), []
            return
        now, looking = time.monotonic(), len(self._pages) if word == "look" else 0
        # Not all at once.
        self._due = [(now + EVERY_SECONDS * random.random(), n) for n in range(looking)]  # noqa: S311
        heapq.heapify(self._due)

    def _read(self, page: Page) -> None:
        if (status := page.read(self._watch)) and page.asked:
            self._statuses[status] += 1
            self._took.append(time.monotonic() - page.asked)
            page.asked = None


def play(port: int, sessions: list[str], told: Connection) -> None:
    """Be a crowd that may `look`, do `nothing`, `tell` what it saw since it last did, and `end`."""
    Crowd(port, sessions, told).run()
