"""`manage.py check` refuses settings that contradict each other, all at once."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


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
