"""The processes of one measurement: Redis, a client, a tree of workers; none outlives its block."""

import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.systems.base import ROOT
from taskqueue.embedded import die_with_parent, find_binary, free_port, redis_ready

BOOT_SECONDS = 30
ANSWER_SECONDS = 90


class Failed(Exception):
    """A measurement came to nothing; the message says why."""


def start(
    command: list[str], env: dict[str, str], log: Path, **pipes: Any
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own; it ends when the runner does, by kill -9 too."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=env,
            start_new_session=True,
            preexec_fn=functools.partial(die_with_parent, os.getpid()),
            **{"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, **pipes},
        )


def until(condition: Callable[[], Any], seconds: float, what: str, every: float = 0.01) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A fresh Redis with its default settings; yields its URL."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    binary = str(find_binary("redis-server"))
    process = start([binary, *options], dict(os.environ), folder / "redis.log")
    try:
        until(lambda: redis_ready(port), BOOT_SECONDS, "Redis starts")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


class Client:
    """A process that enqueues; see benchmarks/client.py for what it can be told."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self._log = log
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = start(command, env, log, **pipes)
        self._unread = b""
        try:
            self._answer(BOOT_SECONDS)
        except Failed:
            self.close()
            raise

    def tell(self, do: str, **order: Any) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")
        self.process.stdin.flush()
        answer = self._answer(ANSWER_SECONDS)
        if "error" in answer:
            raise Failed(f"enqueueing: {answer['error']}")
        return answer

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self.process.stdout
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Failed(f"the client did not answer within {seconds} s: {tail(self._log)}")
            if not (chunk := os.read(self.process.stdout.fileno(), 65536)):
                raise Failed(f"the client ended: {tail(self._log)}")
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        kill_all([self.process])


class Tree:
    """Worker processes, with all that they fork."""

    def __init__(self, commands: list[list[str]], env: dict[str, str], log: Path) -> None:
        self._log = log
        self.members = [start(command, env, log) for command in commands]

    def alive(self) -> bool:
        """True; raises `Failed` when one of its first processes has ended."""
        for member in self.members:
            if (code := member.poll()) is not None:
                raise Failed(f"a worker ended with code {code}: {tail(self._log)}")
        return True

    def family(self) -> list[psutil.Process]:
        return [process for member in self.members for process in family(member.pid)]

    def close(self) -> None:
        kill_all(self.members)


def family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def kill_all(members: list[subprocess.Popen[bytes]]) -> None:
    """Kill these and all that came of them, the first ones first: they would replace a child."""
    everyone = [process for member in members for process in family(member.pid)]
    for member in members:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(member.pid, signal.SIGKILL)
    for process in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for member in members:
        member.wait()


def tail(log: Path, lines: int = 5) -> str:
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    return " / ".join(line.strip() for line in text[-lines:] if line.strip())[-600:]
