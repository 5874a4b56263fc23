"""Where a request comes from."""

from django.conf import settings
from django.http import HttpRequest


def address_of(request: HttpRequest) -> str:
    """Return the client's address: what the outermost of our own proxies says, else the sender's.

    What stands further left in X-Forwarded-For, anybody may have written.
    """
    sender = str(request.META.get("REMOTE_ADDR", ""))
    if not settings.TRUSTED_PROXIES:
        return sender
    steps = [step.strip() for step in request.headers.get("X-Forwarded-For", "").split(",")]
    return steps[-settings.TRUSTED_PROXIES :][0] or sender
