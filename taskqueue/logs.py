"""How log lines look: readable text, or one JSON object a line for machines (LOG_JSON=1)."""

import logging
import re
from typing import Any

import structlog
from structlog.types import EventDict, Processor


def plain(logger: Any, method: str, event: EventDict) -> EventDict:
    """Leave out the request object that Django adds: its repr says less than the message does."""
    event.pop("request", None)
    return event


# What would end a line, move a terminal's cursor or turn the direction of a text.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
MULTILINE = ("exception", "stack")


def visible(text: str) -> str:
    """Return `text` with its control characters written out, as \\n and \\x1b."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(logger: Any, method: str, event: EventDict) -> EventDict:
    """Keep an event on its line, whatever it quotes; lines of a traceback begin with a bar."""
    for name, value in event.items():
        if name in MULTILINE:
            event[name] = "\n".join(f"  | {visible(line)}" for line in str(value).split("\n"))
        elif isinstance(value, str):
            event[name] = visible(value)
    return event


SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    plain,
    structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
]


def _shared(json_lines: bool) -> list[Processor]:
    stamp = structlog.processors.TimeStamper(fmt="iso")
    return [*SHARED[:-1], stamp] if json_lines else SHARED


def _options(json_lines: bool) -> dict[str, Any]:
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if json_lines
        else structlog.dev.ConsoleRenderer(
            colors=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    )
    processors: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
    ]
    if not json_lines:  # JSON writes them out itself
        processors.append(one_line)
    return {"foreign_pre_chain": _shared(json_lines), "processors": [*processors, renderer]}


def formatter(*, json_lines: bool) -> logging.Formatter:
    """What makes the lines, for a program with handlers of its own."""
    return structlog.stdlib.ProcessorFormatter(**_options(json_lines))


def config(*, level: str, json_lines: bool) -> dict[str, Any]:
    """Django's LOGGING: every record, ours and the libraries', through one renderer to stderr."""
    structlog.configure(
        processors=[*_shared(json_lines), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.captureWarnings(json_lines)  # Python prints them as two lines of text
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": structlog.stdlib.ProcessorFormatter, **_options(json_lines)}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        # Django's own handlers are replaced: one line a record, in one place.
        "loggers": {"django": {"handlers": [], "propagate": True}},
    }
