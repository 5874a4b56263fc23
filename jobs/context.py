"""Which job runs here: what a handler may ask about its own execution.

`set` and `reset` are bound methods of one ContextVar: a worker calls them around every job.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """One execution of one job."""

    job_id: str
    attempt: int  # from 1
    claim: int  # grows with every claim of the job: a fencing token for writes outside
    idempotency_key: str  # the same for every execution of the job


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
