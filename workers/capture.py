"""Keeps what a job logs, by logging or structlog: the last lines, for the record of its attempt.

A job's threads have no context of it, so their lines are not kept; nor are those of an execution
that takes its worker with it.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jobs import context, secrets

LINES = 100
LINE_CHARACTERS = 2_000
CHARACTERS = 16 * 1024  # of all lines together, and of one that is not yet scrubbed
SAID = {"event", "level", "timestamp", "exc_info", "job", "type", "attempt", "claim"}


class Capture(logging.Handler):
    """Adds what is logged while a job runs to its context."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lines = context.current().lines
        except LookupError:
            return
        try:
            lines.append(_line(record)[:CHARACTERS])
            del lines[:-LINES]
        except Exception:
            self.handleError(record)


def install() -> None:
    """Have this process keep what its jobs log."""
    logging.getLogger().addHandler(Capture())


def _line(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[11:23]
    event: object = record.msg  # structlog's is a mapping
    error: Any = record.exc_info
    if isinstance(event, Mapping):
        text, error = _said(event), error or event.get("exc_info")
    else:
        text = record.getMessage()
    return f"{at} {record.levelname} {record.name}: {text}{_trace(error)}"


def _said(event: Mapping[str, Any]) -> str:
    """Return structlog's event and its values, without what the page says anyhow."""
    named = {name: value for name, value in event.items() if name not in SAID}
    shown = (
        f"{name}={secrets.MASK if secrets.is_named_so(name) else repr(value)}"
        for name, value in named.items()
    )
    return " ".join([str(event.get("event", "")), *shown])


def _trace(error: Any) -> str:
    if isinstance(error, BaseException):
        error = (type(error), error, error.__traceback__)
    found = error if isinstance(error, tuple) else sys.exc_info() if error else None
    return "\n" + logging.Formatter().formatException(found) if found and found[0] else ""


def kept(lines: Sequence[str], found: list[str]) -> list[str]:
    """Return the last of these lines as they may be stored, without the secrets `found`."""
    newest: list[str] = []
    room = CHARACTERS
    for line in reversed(lines):
        text = secrets.scrub(line, found)[:LINE_CHARACTERS]
        text = text.encode("utf-8", "backslashreplace").decode()
        room -= len(text.encode())
        if room < 0:
            break
        newest.append(text)
    return newest[::-1]
