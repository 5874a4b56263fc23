"""What the description of the API says beyond its endpoints: the payload of each job type."""

from typing import Any

from jobs import registry

PARTS = "#/components/schemas/"


def describe_payloads(
    result: dict[str, Any], generator: object, request: object, public: bool
) -> dict[str, Any]:
    """Describe a job to submit as one of the job types, told apart by `type`.

    Called by drf-spectacular on the finished description.
    """
    parts = result["components"]["schemas"]
    plain = parts["JobRequest"]
    mapping = {}
    for job_type in registry.all_types():
        name = f"JobRequest.{job_type.name}"
        payload = job_type.schema.model_json_schema(ref_template=f"{PARTS}{name}.{{model}}")
        inner = payload.pop("$defs", {})
        parts |= {f"{name}.{model}": schema for model, schema in inner.items()}
        parts[name] = _variant(plain, job_type, payload)
        mapping[job_type.name] = PARTS + name
    if mapping:
        parts["JobRequest"] = {
            "title": plain["title"],
            "description": plain["description"],
            "oneOf": [{"$ref": part} for part in mapping.values()],
            "discriminator": {"propertyName": "type", "mapping": mapping},
        }
    result["components"]["schemas"] = dict(sorted(parts.items()))
    return result


def _variant(
    plain: dict[str, Any], job_type: registry.JobType[..., Any], payload: dict[str, Any]
) -> dict[str, Any]:
    named = {"type": {"type": "string", "const": job_type.name}, "payload": payload}
    return {
        **plain,
        "title": f"{job_type.name}_job",  # what generated clients call it
        "description": job_type.description,
        "properties": {**plain["properties"], **named},
    }
