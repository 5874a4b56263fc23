"""Job types."""

from typing import Any

from pydantic import Field

from jobs.registry import JobType
from jobs.serializers.base import Shape


class TypeShape(Shape):
    """A job type; null means as the settings say. `schema` is the JSON Schema of its payload."""

    name: str
    description: str
    priority: str
    queue: str
    max_attempts: int | None
    timeout: float | None
    backoff: float | None
    payload_schema: dict[str, Any] = Field(serialization_alias="schema")

    @classmethod
    def of(cls, job_type: JobType[..., Any]) -> "TypeShape":
        facts = {name: getattr(job_type, name, None) for name in cls.model_fields}
        return cls.model_validate(facts | {"payload_schema": job_type.schema.model_json_schema()})


class TypeList(Shape):
    """Every job type."""

    results: list[TypeShape]
