"""Reading what was sent as one of the shapes, with one error per fault."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from jobs.errors import FieldError, InvalidRequest
from jobs.serializers.base import Strict
from jobs.serializers.requests import JobRequest

M = TypeVar("M", bound=Strict)
Q = TypeVar("Q", bound=BaseModel)


def read(model: type[M], data: Any) -> M:
    """Return `data` as that request. Raises `InvalidRequest` with one error per fault."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidRequest(*(_fault(model, each) for each in error.errors()[:100])) from None


def read_query(model: type[Q], query: Mapping[str, list[str]]) -> Q:
    """Return a URL's parameters. Raises `InvalidRequest`: unknown, given twice, or bad values."""
    given = {name: values for name, values in query.items() if name != "format"}
    twice = [FieldError(name, "Give it once.") for name, values in given.items() if len(values) > 1]
    if twice:
        raise InvalidRequest(*twice)
    try:
        return model.model_validate({name: values[0] for name, values in given.items()})
    except ValidationError as error:
        raise InvalidRequest(*(_fault(model, each) for each in error.errors())) from None


def _fault(model: type[BaseModel], error: Any) -> FieldError:
    path = ".".join(map(str, error["loc"])) or "body"
    if error["type"] == "extra_forbidden":
        known = JobRequest if len(error["loc"]) > 1 else model
        names = ", ".join(known.model_fields) or "none"
        return FieldError(path, f"There is no such field. The fields are: {names}.")
    return FieldError(path, str(error["msg"]))
