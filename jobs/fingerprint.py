"""Failures that are alike: of one job type, with one kind of error and the same words."""

import re
from hashlib import blake2b

LONGEST = 1_000  # characters of a message that count
VARYING = (
    (re.compile(r"'[^'\n]*'|\"[^\"\n]*\""), "'…'"),
    # From where a word begins: from each of its letters, a long one would be read as often.
    (re.compile(r"(?<!\S)\S+@\S+"), "@"),
    (re.compile(r"\b(?=\w*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b", re.IGNORECASE), "#"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "#"),
    (re.compile(r"\s+"), " "),
)


def of(type: str, error_type: str, error: str) -> str:
    """Return 16 hexadecimal digits that failures alike have in common."""
    said = error[:LONGEST]
    for pattern, instead in VARYING:
        said = pattern.sub(instead, said)
    alike = "\n".join([type, error_type, said.strip()])
    return blake2b(alike.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
