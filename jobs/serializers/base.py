"""What the shapes stand on: the two kinds of them, and the types of their fields."""

import math
from datetime import datetime
from typing import Annotated, Any

from bson import ObjectId
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema


class Strict(BaseModel):
    """A request: each field as declared and no other."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Shape(BaseModel):
    """An answer, read off an object of ours."""

    model_config = ConfigDict(from_attributes=True)

    def answer(self) -> dict[str, Any]:
        """Return it as JSON values; times are ISO 8601 in UTC."""
        return self.model_dump(mode="json", by_alias=True)


def _id(value: Any) -> Any:
    return str(value) if isinstance(value, ObjectId) else value


def finite(value: Any) -> Any:
    """Return a JSON value as JSON can say it: what is not a number becomes a text that names it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(name): finite(inner) for name, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list) else value


Id = Annotated[str, BeforeValidator(_id), Field(description="24 hexadecimal digits.")]
Json = Annotated[Any, BeforeValidator(finite)]


def _moment(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("use a time as text, for example 2026-11-24T12:00:00Z")
    return datetime.fromisoformat(value)


def _zoned(value: datetime) -> datetime:
    if value.tzinfo is None or not 1970 <= value.year <= 9000:
        raise ValueError("use a time with its zone, for example 2026-11-24T12:00:00Z")
    return value


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]

ZonedMoment = Annotated[Moment, AfterValidator(_zoned)]
