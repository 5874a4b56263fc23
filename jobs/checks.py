"""Commands and gunicorn refuse settings that contradict each other, all at once."""

import re
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

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


@register("jobs")
def check_payload_keys(**_: Any) -> list[CheckMessage]:
    """A key that is none would fail every job; it is named by its place, and never shown."""
    return [
        Error(
            f"PAYLOAD_KEYS: key {place} is no Fernet key.",
            hint="Make one: python -c 'from cryptography.fernet import Fernet as F; "
            "print(F.generate_key().decode())'",
            id="jobs.E003",
        )
        for place, key in enumerate(settings.PAYLOAD_KEYS, 1)
        if not _is_key(key)
    ]


def _is_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


@register("jobs")
def check_secret_names(**_: Any) -> list[CheckMessage]:
    """Each name is a regular expression."""
    faults = []
    for name in settings.SECRET_NAMES:
        try:
            re.compile(name)
        except re.error as error:
            fault = f"SECRET_NAMES: {name!r} is no regular expression: {error}."
            faults.append(Error(fault, hint="Separate plain names by commas.", id="jobs.E004"))
    return list(faults)


@register("jobs")
def check_job_links(**_: Any) -> list[CheckMessage]:
    """The function of the host's own links must be there."""
    if not settings.JOB_LINKS:
        return []
    try:
        import_string(settings.JOB_LINKS)
    except ImportError as error:
        hint = "Name a function by its module, as shop.links.of_job."
        return [Error(f"JOB_LINKS: {error}.", hint=hint, id="jobs.E005")]
    return []
