"""A TCP proxy before Redis that can lose exactly one reply.

The server has executed the command; its reply is dropped and the connection closed, as when a
network breaks at that moment. The replies that set a connection up are not counted: losing one
of them is a failed connect, which is another fault.
"""

import asyncio
import contextlib
import re
import threading

SET_UP = {b"HELLO", b"AUTH", b"SELECT", b"CLIENT", b"PING", b"INFO", b"COMMAND", b"READONLY"}
SET_UP |= {b"SUBSCRIBE", b"PSUBSCRIBE", b"UNSUBSCRIBE", b"SCRIPT"}
FIRST = re.compile(rb"\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n")
CHUNK = 65536


class Proxy:
    """`with Proxy(port) as proxy`: listens on `proxy.port`, in a thread of its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.dropped: list[str] = []  # the commands whose replies were lost, in order
        self._countdown = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def drop(self, n: int) -> None:
        """Lose the n-th reply from now on, and only that one."""
        self._countdown = n

    @property
    def armed(self) -> bool:
        return self._countdown > 0

    def __enter__(self) -> "Proxy":
        self._thread.start()
        if not self._ready.wait(5):
            raise RuntimeError("The proxy did not start.")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.close()

    async def _listen(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0.05)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
            line = _Line()
            ways = [self._ask(reader, up_writer, line), self._answer(up_reader, writer, line)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            up_writer.close()
        writer.close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: "_Line"
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                line.note(chunk)
                writer.write(chunk)
                await writer.drain()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: "_Line"
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self._loses(line):
                    return
                writer.write(chunk)
                await writer.drain()

    def _loses(self, line: "_Line") -> bool:
        if not self._countdown or line.command in SET_UP:
            return False
        self._countdown -= 1
        if self._countdown:
            return False
        self.dropped.append(line.command.decode())
        return True


class _Line:
    """One connection: which command was asked last (a pipeline counts as its first)."""

    command = b"HELLO"

    def note(self, chunk: bytes) -> None:
        if found := FIRST.match(chunk):
            self.command = found[1].upper()
