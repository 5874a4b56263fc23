"""What a page does, written as a program would do it: with curl, in Python, in a shell."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs import secrets
from jobs.registry import JobType
from jobs.requests import Request

OPTIONS = ("priority", "queue", "run_at", "delay", "max_attempts", "tags")
AUTHORIZED = '-H "Authorization: Token $TOKEN"'


@dataclass(frozen=True)
class Snippet:
    """One way to do it."""

    name: str
    text: str


def submission(
    job_type: JobType[..., Any], request: Request, key: str | None, url: str
) -> list[Snippet]:
    """Return how to submit this valid job to the site at `url`; secrets are masked."""
    payload = secrets.mask(job_type.name, dict(request.payload))
    chosen = {name: getattr(request, name) for name in OPTIONS if getattr(request, name)}
    if request.tags:
        chosen["tags"] = tuple(request.tags)
    return [
        Snippet("curl", _curl(job_type.name, payload, chosen, key, url)),
        Snippet("Python", _python(job_type, payload, chosen, key)),
        Snippet("manage.py", _command(job_type.name, payload, chosen, key)),
    ]


def _curl(name: str, payload: Any, chosen: Mapping[str, Any], key: str | None, url: str) -> str:
    body = json.dumps({"type": name, "payload": payload, **chosen}, default=_iso)
    keyed = f" \\\n  -H {shlex.quote(f'Idempotency-Key: {key}')}" if key else ""
    return (
        f"curl -sf {shlex.quote(f'{url}/api/v1/jobs/')} {AUTHORIZED} \\\n"
        f"  -H 'Content-Type: application/json'{keyed} \\\n  -d {shlex.quote(body)}"
    )


def _python(
    job_type: JobType[..., Any],
    payload: Mapping[str, Any],
    chosen: Mapping[str, Any],
    key: str | None,
) -> str:
    function = job_type.function
    imported = f"from {function.__module__} import {function.__name__}\n\n"
    if "run_at" in chosen:
        imported = f"from datetime import datetime\n\n{imported}"
    named = {**chosen, "idempotency_key": key} if key else chosen
    options = f".options({_arguments(named)})" if named else ""
    return f"{imported}{function.__name__}{options}.enqueue({_arguments(payload)})"


def _arguments(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_literal(value)}" for name, value in values.items())


def _literal(value: Any) -> str:
    if isinstance(value, datetime):
        return f'datetime.fromisoformat("{value.isoformat()}")'
    return repr(value)


def _command(name: str, payload: Any, chosen: Mapping[str, Any], key: str | None) -> str:
    parts = ["manage.py", "enqueue", name, "--payload", json.dumps(payload)]
    for option, value in chosen.items():
        if option == "tags":
            parts += [part for tag in value for part in ("--tag", tag)]
        else:
            said = _iso(value) if isinstance(value, datetime) else str(value)
            parts += [f"--{option.replace('_', '-')}", said]
    return shlex.join([*parts, "--idempotency-key", key] if key else parts)


def _iso(value: datetime) -> str:
    return value.isoformat()


def action(verb: str, id: str, url: str) -> list[Snippet]:
    """Return how to do something to one job at the site at `url`."""
    address = f"{url}/api/v1/jobs/{id}/"
    asked = f"-X DELETE {address}" if verb == "delete" else f"-X POST {address}{verb}/"
    return [
        Snippet("curl", f"curl -sf {asked} {AUTHORIZED}"),
        Snippet("manage.py", f"manage.py job {verb} {id}"),
    ]
