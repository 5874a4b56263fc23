"""A TCP proxy on loopback that can misbehave: hold everything, drop one reply, reset, delay."""

import socket
import struct
import threading
import time
from collections import Counter
from contextlib import suppress

LINGER_NOT = struct.pack("ii", 1, 0)  # closing sends a reset


class Proxy:
    """Listens on `port`, passes everything on to `target` until told otherwise."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0  # seconds, before each reply
        self.replies = 0  # chunks that came back from the server
        self.cut: Counter[bytes] = Counter()  # replies dropped, by what `cut_reply` was told
        self._cutting: dict[bytes, int] = {}  # how many replies until the one to drop
        self._asked: dict[socket.socket, bytes] = {}  # the last request of each connection
        self.lost: list[bytes] = []  # how the requests began whose replies were dropped
        self._open = threading.Event()
        self._open.set()
        self._refusing = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Pass nothing on, close nothing: a black hole. What is sent arrives at `heal`."""
        self._open.clear()

    def heal(self) -> None:
        """Behave again."""
        self._refusing, self.delay = False, 0.0
        self._cutting.clear()
        self._open.set()

    def refuse(self) -> None:
        """Reset every connection, and every new one."""
        self._refusing = True
        self.reset()

    def reset(self) -> None:
        """Reset the connections that there are."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(*pair)

    def cut_reply(self, n: int, to: bytes = b"") -> None:
        """Drop the n-th reply from now on (1: the next), and its connection with it, once.

        Only replies to requests that contain `to` are counted; each `to` has a count of its own.
        """
        with self._lock:
            self._cutting[to] = n

    @property
    def waits_to_cut(self) -> bool:
        """Whether a reply is still to be dropped."""
        return bool(self._cutting)

    def close(self) -> None:
        """Stop listening; close everything."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._open.set()
        self.refuse()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _close(client)
                continue
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._open.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            _close(client)
            return
        server.settimeout(None)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._pairs.append((client, server))
        threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
        self._pump(server, client, True)

    def _pump(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                if not replies:
                    self._asked[sink] = data
                elif self._cuts(self._asked.get(source, b"")):
                    break
                if replies and self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        self._asked.pop(source if replies else sink, None)
        _close(source, sink)

    def _cuts(self, request: bytes) -> bool:
        with self._lock:
            self.replies += 1
            for told in [told for told in self._cutting if told in request]:
                self._cutting[told] -= 1
            due = [told for told, left in self._cutting.items() if left <= 0]
            self.cut.update(due)
            self.lost += [request[:80]] * bool(due)
            for told in due:
                del self._cutting[told]
            return bool(due)


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
