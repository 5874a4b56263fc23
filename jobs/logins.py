"""Who may try to log in. django-axes counts the failures, in MongoDB; see decision 0014.

A name is locked for an address after `LOGIN_FAILURES`. Attempts spread over many addresses, or over
many names, are stopped `SPREAD` times later, except from where that name has logged in before: so
nobody can lock a person out of their own place.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username
from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

SPREAD = 5  # times LOGIN_FAILURES
MOST = 10_000  # failed logins that are looked at for the list of who is locked out


class Handler(AxesDatabaseHandler):  # type: ignore[misc]
    """What axes does, and a limit for attempts that are spread."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        if super().is_locked(request, credentials):
            return True
        name = get_client_username(request, credentials)
        address = request.axes_ip_address  # type: ignore[attr-defined]
        since = request.axes_attempt_time - settings.AXES_COOLOFF_TIME  # type: ignore[attr-defined]
        recent = AccessAttempt.objects.filter(attempt_time__gte=since)
        most = max(_failures(recent, username=name), _failures(recent, ip_address=address))
        if most < SPREAD * settings.LOGIN_FAILURES:
            return False
        return not AccessLog.objects.filter(username=name, ip_address=address).exists()


def _failures(recent: Any, **of: Any) -> int:
    return recent.filter(**of).aggregate(n=Sum("failures_since_start"))["n"] or 0


def forget(name: str) -> int:
    """Forget the failed logins of a name; return how many there were."""
    query = AccessAttempt.objects.filter(username=name)
    failures = _failures(query)
    query.delete()
    return failures


@dataclass(frozen=True)
class Lock:
    """Why a name may not try to log in now: everywhere, or from one address."""

    failures: int
    since: datetime
    until: datetime
    address: str  # empty: from everywhere but where it has logged in before


def locks(names: Iterable[str]) -> dict[str, Lock]:
    """Return those of these names that are locked out now."""
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    recent = AccessAttempt.objects.filter(attempt_time__gte=since, username__in=list(names))
    found: dict[str, Lock] = {}
    spread: dict[str, list[Any]] = defaultdict(list)
    for attempt in reversed(recent.order_by("-attempt_time")[:MOST]):
        spread[attempt.username].append(attempt)
        if attempt.failures_since_start >= settings.LOGIN_FAILURES:
            found[attempt.username] = _lock([attempt], attempt.ip_address or "")
    for name, attempts in spread.items():
        if sum(each.failures_since_start for each in attempts) >= SPREAD * settings.LOGIN_FAILURES:
            found[name] = _lock(attempts, "")
    return found


def _lock(attempts: list[Any], address: str) -> Lock:
    since = attempts[-1].attempt_time
    failures = sum(each.failures_since_start for each in attempts)
    return Lock(failures, since, since + settings.AXES_COOLOFF_TIME, address)


def locked(request: HttpRequest, response: HttpResponse, credentials: Any = None) -> HttpResponse:
    """Return what is answered to who may not try now: the same whether or not the name exists."""
    context = {"minutes": -(-settings.LOGIN_LOCK_SECONDS // 60)}
    answer = render(request, "locked.html", context, status=429)
    answer.headers["Retry-After"] = str(settings.LOGIN_LOCK_SECONDS)
    return answer
