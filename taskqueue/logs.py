"""How log lines look: readable text, or one JSON object a line for machines (LOG_JSON=1)."""

from typing import Any

import structlog
from structlog.types import EventDict, Processor


def plain(logger: Any, method: str, event: EventDict) -> EventDict:
    """Leave out the request object that Django adds: its repr says less than the message does."""
    event.pop("request", None)
    return event


SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    plain,
    structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
]


def config(*, level: str, json_lines: bool) -> dict[str, Any]:
    """Django's LOGGING: every record, ours and the libraries', through one renderer to stderr."""
    stamp = structlog.processors.TimeStamper(fmt="iso")
    shared = [*SHARED[:-1], stamp] if json_lines else SHARED
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if json_lines
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if json_lines:
        processors.append(structlog.processors.format_exc_info)  # type: ignore[arg-type]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [*processors, renderer],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        # Django's own handlers are replaced: one line a record, in one place.
        "loggers": {"django": {"handlers": [], "propagate": True}},
    }
