"""Run one job's function and say how it ended. Touches no store."""

import inspect
import json
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from django.conf import settings

from jobs import context, registry, requests, secrets, services
from jobs.claims import ClaimedJob, End
from workers import capture, coroutines, forks

log = structlog.get_logger(__name__)
ERROR_CHARACTERS = 2_000
TRACEBACK_CHARACTERS = 16_000  # the end of it: the innermost frames


def execute(job: ClaimedJob, should_stop: Callable[[], bool]) -> End:
    """Call the job's function; whatever it does, return the end of this execution."""
    job_type = registry.get(job.type)
    running = context.Context(
        str(job.id), job.attempt, job.claim, f"{job.type}:{job.id}", job.type, should_stop
    )
    token = context.set(running)
    started = time.monotonic()
    try:
        if job_type is None:
            raise LookupError(f"No code for job type {job.type!r} in this worker.")
        result = job_type.run(secrets.open_(job.payload))
        if inspect.iscoroutine(result):
            result = coroutines.wait(result, services.timeout_seconds(job.type))
    except BaseException as error:  # a job that raises SystemExit must not stop its worker
        forks.end(error)
        return _failed(job, error, started, running.lines)
    finally:
        context.reset(token)
    forks.end()
    ended = time.monotonic()
    kept = _kept(job, result)
    if running.lines:
        kept["logs"] = capture.kept(running.lines, _secrets(job))
        kept["size"] = kept.get("size", 0) + 4 * sum(map(len, kept["logs"]))
    return services.completion(job, started=started, ended=ended, **kept)


def _kept(job: ClaimedJob, result: Any) -> dict[str, Any]:
    """Return the result as JSON values; the job has ended well whatever it returned."""
    if result is None:
        return {}
    try:
        text = json.dumps(result, allow_nan=False)
        if len(text) > settings.JOB_RESULT_MAX_BYTES:
            raise ValueError(f"{len(text)} bytes; the limit is {settings.JOB_RESULT_MAX_BYTES}.")
        value = secrets.seal(json.loads(text))
        return {"result": value, "size": len(requests.storable("result", value))}
    except Exception as error:  # whatever its own classes raise when they are read
        said = f"The result was not kept: {_said(error, _secrets(job))}"
        return {"result_error": _clean(said, ERROR_CHARACTERS)}


def _failed(job: ClaimedJob, error: BaseException, started: float, lines: Sequence[str]) -> End:
    found = _secrets(job)
    logs = capture.kept(lines, found)
    text = secrets.scrub("".join(traceback.format_exception(error)), found)
    late = isinstance(error, coroutines.TimedOut)
    end = services.failure(
        job,
        started=started,
        ended=time.monotonic(),
        outcome="timed_out" if late else "failed",
        error_type="TimeoutError" if late else type(error).__name__[:200],
        error=_clean(_said(error, found), ERROR_CHARACTERS),
        traceback=_clean(text[-TRACEBACK_CHARACTERS:], TRACEBACK_CHARACTERS),
        logs=logs,
        size=2 * len(text[-TRACEBACK_CHARACTERS:]) + 4 * sum(map(len, logs)),
    )
    log.warning(
        f"job.{end.status}", job=str(job.id), type=job.type, attempt=job.attempt, error=end.error
    )
    return end


def _said(error: BaseException, found: list[str]) -> str:
    """Return an error's words without the secrets `found`; its name if it has none."""
    try:
        text = str(error)
    except Exception:  # of a class of the job's own
        text = ""
    return secrets.scrub(text, found) or type(error).__name__


def _secrets(job: ClaimedJob) -> list[str]:
    """Return what must not be written down of a job's payload."""
    try:
        return secrets.values(job.type, secrets.open_(job.payload))
    except secrets.Undecryptable:
        return []  # its function was not called either


def _clean(text: str, most: int) -> str:
    """Cut a text and make it one that MongoDB can hold."""
    return text[:most].encode("utf-8", "backslashreplace").decode()
