"""Request bodies: JSON as RFC 8259 has it and nothing else, bounded before it is read."""

import json
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

ENVELOPE_BYTES = 16 * 1024  # what a request may hold besides its payload


class BodyTooLarge(APIException):
    """The body is over the limit of its endpoint; nothing of it was looked at."""

    status_code = 413
    default_code = "too_large"


class LengthRequired(APIException):
    """The body came in chunks: WSGI does not say where it ends, so it would be taken for empty."""

    status_code = 411
    default_code = "length_required"
    default_detail = "Send a Content-Length; a chunked body is not read."


def single_limit() -> int:
    """Return how many bytes the body of one job may have: its payload, with room for escapes."""
    return 2 * settings.JOB_PAYLOAD_MAX_BYTES + ENVELOPE_BYTES


class StrictJSONParser(BaseParser):
    """Refuses NaN, infinities, duplicate names, invalid UTF-8 and nesting without end.

    A view's `max_body_bytes()` is its limit; without one, that of a single job.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value. Raises `ParseError`, `BodyTooLarge`."""
        context = parser_context or {}
        limit = getattr(context.get("view"), "max_body_bytes", single_limit)()
        return read_json(_bounded(stream, context["request"].META, limit))


def _bounded(stream: IO[bytes], headers: Mapping[str, Any], limit: int) -> bytes:
    too_large = BodyTooLarge(f"The body may have at most {limit} bytes.")
    if int(headers.get("CONTENT_LENGTH") or 0) > limit:
        raise too_large
    body = stream.read(limit + 1)  # whatever the header says
    if len(body) > limit:
        raise too_large
    return body


def refuse_chunked(headers: Mapping[str, Any]) -> None:
    """Raise `LengthRequired` for a body without a length."""
    if headers.get("HTTP_TRANSFER_ENCODING") and not headers.get("CONTENT_LENGTH"):
        raise LengthRequired


def read_json(text: str | bytes) -> Any:
    """Return the value that a JSON text says. Raises `ParseError` for anything else."""
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(
            decoded, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_unique
        )
    except RecursionError:
        raise ParseError("The JSON is nested too deeply.") from None
    except ValueError as error:  # of which JSONDecodeError and UnicodeDecodeError are kinds
        raise ParseError(f"This is not valid JSON: {error}.") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{digits[:40]} is out of range")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a field twice")
    return found
