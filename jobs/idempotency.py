"""Idempotency keys: how a request that is sent again is known to be the same one.

The caller names its request with a key. The name, a digest of what was asked and the ids that were
answered are stored in the transaction that stores the jobs: there are both or neither.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from bson import ObjectId
from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic_core import PydanticSerializationError, to_jsonable_python

from jobs.errors import FieldError, InvalidRequest
from jobs.requests import Request

FIELD = "Idempotency-Key"  # what the HTTP header is called, and faults of a key everywhere
MAX_LENGTH = 200
KEPT = timedelta(hours=24)  # after which the key may name another request

KEY = re.compile(rf"[ -~]{{1,{MAX_LENGTH}}}")


def accepted_request(
    key: str, scope: str, digest: str, ids: Sequence[ObjectId], now: datetime
) -> dict[str, Any]:
    """Return what is stored of a request: see `models.AcceptedRequest`.

    `scope` is whose key it is: two callers may choose the same one. `digest` is of what was asked.
    Raises `InvalidRequest`.
    """
    check(key)
    return {
        "_id": name(key, scope),
        "digest": digest,
        "ids": list(ids),
        "expire_at": now + KEPT,
    }


def check(key: str) -> None:
    """Raise `InvalidRequest` for what cannot be a key."""
    if not KEY.fullmatch(key):
        raise InvalidRequest(
            FieldError(FIELD, f"Use 1 to {MAX_LENGTH} printable ASCII characters.")
        )


def name(key: str, scope: str) -> str:
    """Return under which name a request is stored."""
    return _sha256(f"{scope}\0{key}")


def digest_of_operation(id: ObjectId) -> str:
    """Return what tells the execution of one operation from every other request."""
    return _sha256(f"operation {id}")


def digest(requests: Sequence[Request], *, copied_from: ObjectId | None = None) -> str:
    """Return what tells requests apart, as they were given. Raises `InvalidRequest`.

    `copied_from` is the job that was edited; its copy is another request than that of another job.

    A delay, not the time it leads to, and without the defaults of the signature: these change with
    the hour or with a new version of the job type, though the caller asks for the same.
    """
    try:
        given = [_canonical(vars(request)) for request in requests]
    except PydanticSerializationError as error:
        fault = f"It cannot be compared, so it cannot have an idempotency key: {error}."
        raise InvalidRequest(FieldError("payload", fault)) from None
    return _sha256(f"[{','.join(given)}]{copied_from or ''}")


def _canonical(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, Secret | SecretStr | SecretBytes):
        return _plain(value.get_secret_value())  # only the digest of it all is kept
    if isinstance(value, BaseModel):
        return _plain(dict(value))
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(map(_canonical, value))  # their order differs from process to process
    return value if isinstance(value, str | int | float | None) else to_jsonable_python(value)


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()
