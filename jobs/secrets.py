"""What is secret in a payload or a result: masked where people look, encrypted where it is stored.

Secret is what the signature types as `SecretStr`, and what has a name that `SECRET_NAMES` matches.
Encryption is off unless `PAYLOAD_KEYS` is set. See docs/decisions/0016-secrets.md.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from pydantic import BaseModel

from jobs import registry
from jobs.registry import Schema

MASK = "••••••"
LEAST = 6  # characters; a shorter value is looked for in no text, since it would be found anywhere
SECRET: Schema = {"writeOnly": True}  # what a JSON schema says of a secret
ANYTHING: Schema = {}  # and of what may be anything
REFERENCE = re.compile(r'"\$ref": "[^"]*/([^"/]+)"')
NOTHING: tuple[Any, ...] = (None, "", [], {})  # no secret, wherever it stands
SEALED = "~sealed"  # the one key of what is stored encrypted: no parameter can be called so


class Undecryptable(Exception):
    """What is stored is encrypted with a key that PAYLOAD_KEYS does not have."""


# --- what is secret ---------------------------------------------------------------------------


@cache
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(names) or r"(?!)", re.IGNORECASE)


def is_named_so(text: str) -> bool:
    """Return whether a name, or anything within a text, is one of `SECRET_NAMES`."""
    return _pattern(tuple(settings.SECRET_NAMES)).search(text) is not None


def mask(job_type: str, payload: Any) -> Any:
    """Return a payload as people may see it. Of a type that is unknown here, no text is shown."""
    known = registry.get(job_type)
    return _masked(payload, known.masked(payload) if known else None)


def mask_given(job_type: str, payload: Any) -> Any:
    """Return a payload as who gave it may see it again, without its secrets; it may be invalid.

    `mask` would hide in it too what the signature refuses, or takes and writes otherwise.
    """
    known = registry.get(job_type)
    if known is None:
        return mask(job_type, payload)
    schema = known.schema.model_json_schema()
    return mask_described(payload, schema, schema.get("$defs", {}))


def mask_described(value: Any, part: Schema, definitions: Schema) -> Any:
    """Mask what has a secret name, and what this part of a JSON schema says is secret.

    Where there may be a secret in the part, what it does not describe is masked too.
    """
    return _Mask(definitions).of(value, part)


class _Mask:
    """Masks by the parts of one JSON schema; of each it is read once what it says."""

    def __init__(self, definitions: Schema) -> None:
        self._definitions = definitions
        self._read: dict[int, tuple[Schema, Schema, Schema]] = {}  # by the part's id

    def of(self, value: Any, part: Schema) -> Any:
        _, shape, otherwise = self._read.get(id(part)) or self._reading(part)
        if shape.get("writeOnly"):
            return value if value in NOTHING else MASK
        if isinstance(value, dict):
            fields, others = shape.get("properties", {}), shape.get("additionalProperties")
            others = others if isinstance(others, dict) else otherwise
            return {
                name: self.of(each, SECRET if is_named_so(name) else fields.get(name, others))
                for name, each in value.items()
            }
        if isinstance(value, list):
            first, others = shape.get("prefixItems", []), shape.get("items")
            others = others if isinstance(others, dict) else otherwise
            parts = [*first, *[others] * len(value)]
            return [self.of(each, parts[n]) for n, each in enumerate(value)]
        return MASK if otherwise and value not in NOTHING else value

    def _reading(self, part: Schema) -> tuple[Schema, Schema, Schema]:
        """Return the part, which keeps its id its own, its shape, and what else is in it is."""
        shape, _ = registry.shape(part, self._definitions)
        otherwise = SECRET if holds_secrets(shape, self._definitions) else ANYTHING
        self._read[id(part)] = part, shape, otherwise
        return self._read[id(part)]


def holds_secrets(part: Schema, definitions: Schema) -> bool:
    """Return whether a part of a JSON schema says of anything in it that it is secret."""
    left, seen = [part], set[str]()
    while left:
        text = json.dumps(left.pop())
        if "writeOnly" in text:
            return True
        new = set(REFERENCE.findall(text)) - seen
        seen |= new
        left += [definitions.get(name, ANYTHING) for name in new]
    return False


def unmasked(payload: Any, original: Any) -> Any:
    """Return a payload in which what is masked is as it was in the original, in the same place."""
    if payload == MASK:
        return original
    if isinstance(payload, dict) and isinstance(original, dict):
        return {
            name: unmasked(each, original[name]) if name in original else each
            for name, each in payload.items()
        }
    if isinstance(payload, list) and isinstance(original, list):
        return [*map(unmasked, payload, original), *payload[len(original) :]]
    return payload


def mask_result(job_type: str, payload: Any, result: Any) -> Any:
    """Return a result as people may see it: secrets of its payload are masked in it too."""
    if result is None:  # as for every row of a list
        return None
    found = values(job_type, payload)
    return _scrubbed(_masked(result, result), found)


def _masked(value: Any, shown: Any) -> Any:
    """Mask what has a secret name, and what `shown` has no or another value for."""
    if shown == registry.STARS:
        return MASK
    if isinstance(value, dict):
        inner = shown if isinstance(shown, dict) else {}
        return {
            name: MASK
            if each is not None and is_named_so(str(name))
            else _masked(each, inner.get(name))
            for name, each in value.items()
        }
    if isinstance(value, list):
        same = isinstance(shown, list) and len(shown) == len(value)
        return [_masked(each, shown[n] if same else None) for n, each in enumerate(value)]
    return MASK if isinstance(value, str) and value != shown else value


def types_that_show(path: str) -> list[str]:
    """Return the job types in whose payload nothing at this path, such as a.b, is secret."""
    first, *inner = path.split(".")
    if any(map(is_named_so, [first, *inner])):
        return []
    return [known.name for known in registry.all_types() if first in _shown_fields(known.schema)]


@cache
def _shown_fields(schema: type[BaseModel]) -> frozenset[str]:
    """Return the fields in whose description no secret occurs, however deep."""
    described = schema.model_json_schema()
    return frozenset(
        name
        for name, part in described.get("properties", {}).items()
        if not holds_secrets(part, described.get("$defs", {}))
    )


def values(job_type: str, payload: Any) -> list[str]:
    """Return the secret texts of a payload that are worth looking for, the longest first."""
    found = {text for text in _hidden(payload, mask(job_type, payload)) if len(text) >= LEAST}
    return sorted(found, key=len, reverse=True)


def _hidden(value: Any, shown: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value != shown:
            yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _hidden(each, shown.get(name) if isinstance(shown, dict) else shown)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            same = isinstance(shown, list)
            yield from _hidden(each, shown[place] if same else shown)


def scrub(text: str, found: list[str]) -> str:
    """Return a text without these secrets, plain or as Python or JSON write them."""
    for value in found:
        for written in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
            text = text.replace(written, MASK)
    return text


def _scrubbed(value: Any, found: list[str]) -> Any:
    if isinstance(value, str):
        return scrub(value, found)
    if isinstance(value, dict):
        return {scrub(name, found): _scrubbed(each, found) for name, each in value.items()}
    return [_scrubbed(each, found) for each in value] if isinstance(value, list) else value


def shown(job_type: str, payload: Any, result: Any, *, reveal: bool = False) -> tuple[Any, Any]:
    """Return what is stored of a payload and a result as people may see it, or in clear."""
    try:
        opened, outcome = open_(payload), open_(result)
    except Undecryptable as error:
        return {"undecryptable": str(error)}, None
    if reveal:
        return opened, outcome
    return mask(job_type, opened), mask_result(job_type, opened, outcome)


# --- at rest ----------------------------------------------------------------------------------


@cache
def _keys(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def seal(value: Any) -> Any:
    """Return a JSON value as it is stored: encrypted with the first key, if there are any."""
    if not settings.PAYLOAD_KEYS or value is None:
        return value
    plain = json.dumps(value, separators=(",", ":")).encode()
    return {SEALED: _keys(tuple(settings.PAYLOAD_KEYS)).encrypt(plain).decode()}


def open_(stored: Any) -> Any:
    """Return what was sealed; anything else as it is. Raises `Undecryptable`."""
    if not is_sealed(stored):
        return stored
    try:
        return json.loads(_keys(tuple(settings.PAYLOAD_KEYS)).decrypt(stored[SEALED]))
    except (InvalidToken, ValueError):
        raise Undecryptable(
            "It is encrypted with a key that this process does not have. Add that key to "
            "PAYLOAD_KEYS of web and workers, then requeue the job."
        ) from None


def is_sealed(stored: Any) -> bool:
    return isinstance(stored, Mapping) and SEALED in stored


def is_current(stored: Any) -> bool:
    """Return whether a stored value is as `seal` would store it now."""
    if stored is None:
        return True
    if not settings.PAYLOAD_KEYS or not is_sealed(stored):
        return is_sealed(stored) == bool(settings.PAYLOAD_KEYS)
    try:
        _keys((settings.PAYLOAD_KEYS[0],)).decrypt(stored[SEALED])
    except InvalidToken:
        return False
    return True
