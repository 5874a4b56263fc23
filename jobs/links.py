"""Links from a job to elsewhere, which the host's own code gives: see JOB_LINKS."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.utils.module_loading import import_string

from jobs.models import Job

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Link:
    """A link, and what it is called."""

    label: str
    url: str


def links(job: Job) -> list[Link]:
    """Return the links of a job, whose secrets are masked. A hook that fails is logged: none."""
    if not settings.JOB_LINKS:
        return []
    try:
        found = [Link(str(label), str(url)) for label, url in _hook(settings.JOB_LINKS)(job)]
    except Exception as error:  # the page must be readable, whatever the host's code does
        log.warning("job.links_failed", job=str(job.id), error=repr(error)[:200])
        return []
    return [link for link in found if urlsplit(link.url).scheme in ("http", "https")]


@cache
def _hook(path: str) -> Callable[[Job], Iterable[tuple[str, str]]]:
    hook: Callable[[Job], Iterable[tuple[str, str]]] = import_string(path)
    return hook
