"""Runs the coroutines of async job types on one event loop a process, in a thread of its own.

One loop for all of them, so that jobs can share clients: those belong to the loop of their making.
"""

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import structlog

from workers import forks

log = structlog.get_logger(__name__)
R = TypeVar("R")
_starting = threading.Lock()  # without it, two slots with a first job each would get a loop each


class TimedOut(TimeoutError):
    """A coroutine was cancelled, since it ran past its timeout."""


def wait(coroutine: Coroutine[Any, Any, R], timeout: float) -> R:
    """Run `coroutine` on the loop, in the context of this thread; return or raise what it does.

    After `timeout` seconds from now it is cancelled, and if it ends by that this raises `TimedOut`.
    Tasks that it leaves behind go on: a client's own are among them, and others use that client.
    """
    with _starting:
        loop = _loop()
    deadline = loop.time() + timeout
    end = asyncio.run_coroutine_threadsafe(_end_of(coroutine, deadline), loop).result()
    if not isinstance(end, _Raised):
        return end
    if end.late:
        said = f"It ran past its timeout of {timeout:g} s and was cancelled."
        raise TimedOut(said) from end.error  # which shows where it was waiting
    raise end.error


@dataclass(frozen=True, slots=True)
class _Raised:
    error: BaseException
    late: bool


async def _end_of(coroutine: Coroutine[Any, Any, R], deadline: float) -> R | _Raised:
    """Return the end, and raise nothing: a SystemExit would end the loop, which is everybody's."""
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            end = await coroutine
    except BaseException as error:
        forks.end(error)
        return _Raised(error, limit.expired())
    forks.end()
    return end


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=_serve, args=(loop,), name="loop", daemon=True).start()
    return loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop for as long as the process lives, whatever is thrown at it."""
    while True:
        try:
            loop.run_forever()  # returns when a job calls `stop` on it
        except BaseException as error:  # SystemExit of a task that a job has left behind
            log.error("loop.interrupted", error=repr(error)[:200])
