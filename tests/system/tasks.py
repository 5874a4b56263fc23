"""Job types of these tests. Each log line of one begins with its name."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from jobs import Context, job


@job
async def async_sleep(seconds: float) -> dict[str, Any]:
    """Sleep, and say in which process and on which loop."""
    await asyncio.sleep(seconds)
    return {"pid": os.getpid(), "loop": id(asyncio.get_running_loop())}


@job
def told_sleep(seconds: float, begun: str) -> None:
    """Say by a file that it runs, which is a moment later than that it was claimed; sleep."""
    Path(begun).touch()
    time.sleep(seconds)


@job
async def async_told_sleep(seconds: float, begun: str) -> None:
    """As `told_sleep`."""
    Path(begun).touch()
    await asyncio.sleep(seconds)


@job
async def async_parent() -> str:
    """Enqueue another job, in a thread as Django demands."""
    return await asyncio.to_thread(async_sleep.enqueue, seconds=0)


@job
async def async_wait(ctx: Context, seconds: float) -> dict[str, Any]:
    """As the demo type `wait`."""
    ctx.log.info("wait.started", seconds=seconds)
    until = time.monotonic() + seconds
    while not ctx.should_stop:
        if time.monotonic() >= until:
            return {"stopped_early": False}
        await asyncio.sleep(0.05)
    ctx.log.info("wait.stopped_early")
    return {"stopped_early": True}


@job(timeout=1, backoff=0.2)
async def async_late_once(ctx: Context) -> None:
    """Run past the timeout, the first time."""
    if ctx.attempt == 1:
        await asyncio.sleep(60)


@job(timeout=1, max_attempts=1)
async def async_deaf() -> None:
    """Run past the timeout and heed no cancellation."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue


@job(timeout=1, max_attempts=1)
async def async_block() -> None:
    """Keep the loop from running anything else."""
    time.sleep(60)


@job(max_attempts=1)
async def async_exit() -> None:
    """Ask the interpreter to end."""
    raise SystemExit(3)


@job(max_attempts=2, backoff=0.1)
def sign_in(name: str, password: SecretStr, how: str = "well") -> dict[str, str]:
    """Use a secret, and end well or not. What it returns under a secret's name is one too."""
    word = password.get_secret_value()
    if how == "fails":
        raise ValueError(f"{name} may not enter with {word}")
    if how == "crashes":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"api_key": f"key-for-{word}", "said": f"welcome with {word}"}
