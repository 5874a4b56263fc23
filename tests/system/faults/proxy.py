"""A TCP proxy on loopback that can misbehave: hold everything, drop one reply, reset, delay."""

import socket
import struct
import threading
import time
from contextlib import suppress

LINGER_NOT = struct.pack("ii", 1, 0)  # closing sends a reset


class Proxy:
    """Listens on `port`, passes everything on to `target` until told otherwise."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0  # seconds, before each reply
        self.replies = 0  # chunks that came back from the server
        self.lost: list[bytes] = []  # how the requests began whose replies were dropped
        self._asked: dict[socket.socket, bytes] = {}
        self._cut_at = 0
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
        self._refusing, self.delay, self._cut_at = False, 0.0, 0
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

    def cut_reply(self, n: int) -> None:
        """Drop the n-th reply from now on (1: the next), and its connection with it, once."""
        with self._lock:
            self._cut_at = self.replies + n

    @property
    def was_cut(self) -> bool:
        """Whether the reply that was to be dropped has been."""
        return self.replies >= self._cut_at

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
                    self._asked[sink] = data[:80]
                if replies and self._cuts():
                    self.lost.append(self._asked.get(source, b""))
                    break
                if replies and self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        self._asked.pop(source, None)
        _close(source, sink)

    def _cuts(self) -> bool:
        with self._lock:
            self.replies += 1
            return self.replies == self._cut_at


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
