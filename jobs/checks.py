"""`manage.py check` refuses settings that contradict each other, all at once."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

DOCUMENT_BYTES = 15_000_000  # of 16 MiB; the rest is for the job's other fields and its attempts


@register("jobs")
def check_settings(**_: Any) -> list[CheckMessage]:
    """A worker must miss several heartbeats before it counts as lost."""
    least = 3 * settings.WORKER_HEARTBEAT_SECONDS
    lost = settings.WORKER_LOST_SECONDS
    if lost < least:
        return [
            Error(
                f"WORKER_LOST_SECONDS is {lost:g}: live workers would be reaped.",
                hint=f"Use at least three times WORKER_HEARTBEAT_SECONDS: {least:g}.",
                id="jobs.E001",
            )
        ]
    return []


@register("jobs")
def check_sizes(**_: Any) -> list[CheckMessage]:
    """A job with its payload, its result and its attempts must fit into one document."""
    both = settings.JOB_PAYLOAD_MAX_BYTES + settings.JOB_RESULT_MAX_BYTES
    if both > DOCUMENT_BYTES:
        return [
            Error(
                f"JOB_PAYLOAD_MAX_BYTES and JOB_RESULT_MAX_BYTES are {both} together.",
                hint=f"Use {DOCUMENT_BYTES} at most: MongoDB keeps a job in one document of 16 MB.",
                id="jobs.E002",
            )
        ]
    return []
