"""Requests over HTTP from several clients at once, each on a connection that stays open.

One thread, bare sockets, requests written beforehand: it takes some tens of microseconds of
processor time a request, where the servers take hundreds. `cpu` says how much it took, so that a
run in which it was the bottleneck can be seen.
"""

import json
import re
import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.processes import Failed

ANSWER_SECONDS = 30
HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)


@dataclass
class Answers:
    """What came back."""

    seconds: float = 0.0
    cpu: float = 0.0  # the share of one core that asking took
    milliseconds: list[float] = field(default_factory=list)  # of each request
    bodies: list[bytes] = field(default_factory=list)


@dataclass
class _Client:
    socket: socket.socket
    began: float = 0.0
    received: bytes = b""


def request(method: str, path: str, token: str, body: Any = None) -> bytes:
    """Write a request down."""
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Token {token}\r\n"
        f"Accept: application/json\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def load(port: int, requests: Iterable[bytes], clients: int) -> Answers:
    """Send them, each client its next as soon as it is answered. Raises `Failed`."""
    answers, todo = Answers(), iter(requests)
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(clients):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ, _Client(connection))
        started, cpu = time.monotonic(), time.process_time()
        for key in list(selector.get_map().values()):
            _send(key.data, selector, todo)
        while selector.get_map():
            if not (ready := selector.select(ANSWER_SECONDS)):
                raise Failed(f"no answer within {ANSWER_SECONDS} s")
            for key, _ in ready:
                _receive(key.data, selector, todo, answers)
        answers.seconds = time.monotonic() - started
        answers.cpu = (time.process_time() - cpu) / answers.seconds
    return answers


def _send(client: _Client, selector: selectors.BaseSelector, todo: Iterator[bytes]) -> None:
    following = next(todo, None)
    if following is None:
        selector.unregister(client.socket)
        return
    client.began, client.received = time.monotonic(), b""
    client.socket.sendall(following)


def _receive(
    client: _Client, selector: selectors.BaseSelector, todo: Iterator[bytes], answers: Answers
) -> None:
    chunk = client.socket.recv(262_144)
    client.received += chunk
    head, end, body = client.received.partition(HEAD_END)
    length = LENGTH.search(head)
    if not chunk or (end and not length):
        raise Failed(f"an answer that ends or has no length: {client.received[:200]!r}")
    if not end or not length or len(body) < int(length[1]):
        return
    answers.milliseconds.append(1000 * (time.monotonic() - client.began))
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
        raise Failed(f"{head.splitlines()[0]!r}: {body[:300]!r}")
    answers.bodies.append(body)
    _send(client, selector, todo)
