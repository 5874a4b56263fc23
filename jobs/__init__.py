"""Jobs: what they are, and what may happen to them. `from jobs import job` makes a job type."""

from jobs.context import Context
from jobs.registry import job

__all__ = ["Context", "job"]
