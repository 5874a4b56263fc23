"""Log lines: one event is one line, whatever it quotes."""

import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from taskqueue import logs
from tests.hostile import STRINGS


@pytest.fixture(params=[False, True], ids=["text", "json"])
def lines(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Format records as the settings have it, and return their lines."""
    before = structlog.get_config()
    config = logs.config(level="INFO", json_lines=request.param)
    options = {name: value for name, value in config["formatters"]["line"].items() if name != "()"}
    formatter = structlog.stdlib.ProcessorFormatter(**options)

    def written(text: str, exc_info: Any = None) -> list[str]:
        arguments = ("page.failed: %s", (text,), exc_info)
        record = logging.LogRecord("probe", logging.WARNING, __file__, 1, *arguments)
        record.actor = text
        return formatter.format(record).split("\n")

    yield written
    from django.conf import settings

    logging.captureWarnings(False)
    structlog.configure(**before)  # the very same lists: loggers that were used before have them
    logging.config.dictConfig(settings.LOGGING)


@pytest.mark.parametrize("text", STRINGS, ids=range(len(STRINGS)))
def test_an_event_is_one_line_without_control_characters(lines: Any, text: str) -> None:
    (line,) = lines(text)
    assert not logs.CONTROL.search(line)
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("text", ["a\nb\r\n12:00:00 [info] forged", "\x1b[2J\u202eb"])
def test_a_quoted_error_cannot_pass_for_an_event(lines: Any, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError as error:
        first, *rest = lines("x", (type(error), error, error.__traceback__))
    assert "page.failed" in first
    assert all(line.startswith("  | ") for line in rest)
    assert not any(logs.CONTROL.search(line) for line in (first, *rest))
