"""Errors."""

from jobs.serializers.base import Shape


class FieldErrorShape(Shape):
    """One fault of a request."""

    field: str
    message: str


class ProblemShape(Shape):
    """An error (RFC 9457), with a stable `code`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldErrorShape]
