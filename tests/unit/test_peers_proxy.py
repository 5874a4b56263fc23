"""The proxy of the peers' harness loses exactly the reply it was told to lose."""

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.system.peers.proxy import Proxy


class Server(socketserver.ThreadingTCPServer):
    """Answers every command with +OK and remembers it."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        self.executed: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        while chunk := self.request.recv(4096):
            self.server.executed.append(chunk)
            self.request.sendall(b"+OK\r\n")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(connection: socket.socket, command: str) -> bytes:
    connection.sendall(f"*1\r\n${len(command)}\r\n{command}\r\n".encode())
    return connection.recv(100)


def test_the_nth_reply_is_lost_after_the_command_was_executed(server):
    with Proxy(server.server_address[1]) as proxy:
        proxy.drop(2)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as one:
            assert ask(one, "HELLO") == b"+OK\r\n"  # sets the connection up: not counted
            assert ask(one, "LPUSH") == b"+OK\r\n"
            assert ask(one, "BRPOP") == b""  # closed
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as another:
            assert ask(another, "LPUSH") == b"+OK\r\n"
        assert proxy.dropped == ["BRPOP"]
        assert not proxy.armed
    assert len(server.executed) == 4
