"""Job types for demonstrations and tests, registered only where `settings.DEMO_JOBS` is on."""

import os
import signal
import time
from typing import Annotated, Any

from django.core.files.storage import default_storage
from pydantic import Field

from jobs import context, selectors
from jobs.context import Context
from jobs.registry import job

STEP_SECONDS = 0.1  # how often `wait` looks whether it should stop
CAUSES = "causes"  # the folder in the storage


class StillBroken(Exception):
    """The failure that a `flaky` job was asked for."""


@job
def noop() -> None:
    """Do nothing."""


@job
def sleep(
    seconds: Annotated[float, Field(ge=0, le=3600, description="Seconds, 0 to 3,600.")],
) -> None:
    """Sleep; longer than the job's timeout is how to see one."""
    time.sleep(seconds)


@job
def wait(
    ctx: Context,
    seconds: Annotated[float, Field(ge=0, le=3600, description="Seconds, 0 to 3,600.")],
) -> dict[str, Any]:
    """Sleep, but end early when asked to stop."""
    ctx.log.info("wait.started", seconds=seconds)
    until = time.monotonic() + seconds
    while not ctx.should_stop:
        left = until - time.monotonic()
        if left <= 0:
            return {"stopped_early": False}
        time.sleep(min(left, STEP_SECONDS))
    ctx.log.info("wait.stopped_early")
    return {"stopped_early": True}


@job
def flaky(
    fail_times: Annotated[int, Field(ge=0, description="How many first executions fail.")],
    cause: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]{0,64}$",
            description="Fail only while the storage has this file in causes/; empty: always.",
        ),
    ] = "",
) -> dict[str, Any]:
    """Fail the first executions, those before a requeue included, then succeed.

    With a `cause`, a person can remove what makes the job fail, and requeue it. Raises
    `StillBroken`, and `LookupError` outside of a job.
    """
    execution = _ended_executions(context.current().job_id) + 1
    if execution <= fail_times and (not cause or default_storage.exists(f"{CAUSES}/{cause}")):
        raise StillBroken(f"Execution {execution} was asked to fail.")
    return {"execution": execution}


def _ended_executions(job_id: str) -> int:
    return len(selectors.job(job_id).attempts)


@job
def crash() -> None:
    """Kill the worker process that runs this, at once and without a word (SIGKILL)."""
    os.kill(os.getpid(), signal.SIGKILL)
