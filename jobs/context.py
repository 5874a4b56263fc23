"""Which job runs here: what a handler may ask about its own execution, and its log.

`set` and `reset` are bound methods of one ContextVar: a worker calls them around every job.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import structlog

logger = structlog.get_logger(__name__)


def never() -> bool:
    """Return `False`: outside of a worker nothing asks a job to stop."""
    return False


@dataclass(frozen=True, slots=True)
class Context:
    """One execution of one job. A job type gets it as its first parameter, if that is `ctx`."""

    job_id: str
    attempt: int  # from 1
    claim: int  # grows with every claim of the job: a fencing token for writes outside
    idempotency_key: str  # the same for every execution of the job
    type: str = ""
    stop: Callable[[], bool] = field(default=never, repr=False, compare=False)  # see should_stop
    lines: list[str] = field(default_factory=list, repr=False, compare=False)  # what it logs

    @property
    def should_stop(self) -> bool:
        """Whether this execution should end early.

        True at once when its worker is told to stop, and within about 2 s when the job was
        cancelled or is held under another claim by now, so that its end will be refused.
        """
        return self.stop()

    @property
    def log(self) -> Any:
        """A structlog logger whose lines say which job, type, attempt and claim wrote them."""
        return logger.bind(job=self.job_id, type=self.type, attempt=self.attempt, claim=self.claim)


_context: ContextVar[Context] = ContextVar("job")
set = _context.set  # noqa: A001 - reads as context.set
reset = _context.reset


def current() -> Context:
    """Return the context of the job that runs here. Raises `LookupError` outside of a job."""
    try:
        return _context.get()
    except LookupError:
        raise LookupError("No job runs here: only a job's own code has a context.") from None


@contextmanager
def use(context: Context) -> Iterator[None]:
    """Run the block as if it were the execution `context`: for tests of a job type."""
    token = set(context)
    try:
        yield
    finally:
        reset(token)
