"""Live parts of pages, shared by all who look: built once in two seconds, and only if they do.

A part lies in Redis under its address and the rights of who looks, so it may hold nothing personal.
The last good one stays, there and in this process, for when a store is away.
See docs/decisions/0019-live-parts.md.
"""

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.conf import settings
from django.utils.safestring import SafeString

from jobs import counts, locks, outages, people, secrets
from jobs.clients import redis
from jobs.memory import Memory

log = structlog.get_logger(__name__)

# How long a part is as good as new: a little less than pass between two polls of a page.
FRESH_SECONDS = 1.9
BUILD_SECONDS = 10.0  # after which a build counts as dead, and another begins
KEPT_SECONDS = 120  # how long the last one of an address stays in Redis
LASTING_SECONDS = 86_400  # that of a page itself, without a filter: there are few
MOST_CHARACTERS = 300_000  # packed; a part that is larger is not shared
REMEMBERED = 200  # parts in this process


@dataclass(frozen=True)
class Part:
    """The rendered live part of a page."""

    name: str  # of the page
    rev: str
    at: datetime  # when it was built, by MongoDB's clock
    dead: int  # dead letters there were, for the badge next to it
    polls: bool
    packed: str

    @classmethod
    def of(cls, name: str, html: str, *, at: datetime, dead: int, polls: bool) -> "Part":
        """Return a part as it is kept."""
        rev = hashlib.blake2b(f"{dead} {html}".encode(), digest_size=8).hexdigest()
        packed = base64.b64encode(zlib.compress(html.encode(), 1)).decode()
        return cls(name, rev, at, dead, polls, packed)

    @property
    def html(self) -> SafeString:
        # A template wrote it, which escaped whatever was put into it.
        return SafeString(zlib.decompress(base64.b64decode(self.packed)).decode())


@dataclass(frozen=True)
class Found:
    """What is shared under a key now."""

    rev: str  # of the last part; empty: there is none
    fresh: bool
    outdated: bool  # somebody has changed something since it was built
    generation: str  # of the changes that people made, before anything was read
    at: str = ""  # when the last part was built
    people: str = ""  # the version of users and rights
    session: bool = False  # whether the session that was asked for lives


@dataclass(frozen=True)
class _Remembered:
    part: Part
    generation: str
    until: float  # as good as new


class _Generation:
    """Counts what people changed: in Redis for all processes, and here without it."""

    def __init__(self) -> None:
        self.seen = ""
        self.own = 0


_generation = _Generation()
_remembered: Memory[_Remembered] = Memory(REMEMBERED)


def key_of(address: Iterable[str]) -> str:
    """Return the name of the part that these words tell apart from every other."""
    told = "\n".join([settings.REDIS_PREFIX, *address])
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def _part_key(key: str) -> str:
    """HASH of a part's fields."""
    return f"{settings.REDIS_PREFIX}:part:{key}"


def _fresh_key(key: str) -> str:
    """STRING: the generation of a part that is as good as new."""
    return f"{settings.REDIS_PREFIX}:part:{key}:fresh"


def _building_key(key: str) -> str:
    """STRING: somebody builds the part."""
    return f"{settings.REDIS_PREFIX}:part:{key}:building"


def _generation_key() -> str:
    """STRING: how often a person has changed something."""
    return f"{settings.REDIS_PREFIX}:parts"


def find(key: str, session: str = "") -> Found:
    """Look under a key, in one round trip; on the way learn whether anybody's rights changed.

    And whether the session lives that Redis keeps by `session`, if one is named.
    """
    try:
        with outages.redis.asked(), redis().pipeline(transaction=False) as asked:
            asked.mget(_generation_key(), _fresh_key(key), people.version_key())
            asked.hmget(_part_key(key), "rev", "generation", "at")
            if session:
                asked.exists(session)
            (generation, fresh, version), (rev, built_at, at), *lives = asked.execute()
    except outages.NO_REDIS:
        return _found_here(key)
    people.see(version or "")
    generation = generation or ""
    if generation != _generation.seen:
        _generation.seen = generation
        counts.forget()
    if rev is None:
        return Found(_found_here(key).rev, False, False, generation)
    outdated = built_at != generation
    return Found(rev, fresh == generation, outdated, generation, at, version or "", any(lives))


def _found_here(key: str) -> Found:
    generation = f"here {_generation.own}"
    kept = _remembered.get(key)
    if kept is None:
        return Found("", False, False, generation)
    outdated = kept.generation != generation
    fresh = not outdated and time.monotonic() < kept.until
    return Found(kept.part.rev, fresh, outdated, generation)


def begin(key: str) -> bool:
    """Return whether to build the part now: `False` while somebody else does."""
    return locks.take(_building_key(key), BUILD_SECONDS)


def end(key: str) -> None:
    """Let others build it."""
    try:
        with outages.redis.asked():
            redis().delete(_building_key(key))
    except outages.NO_REDIS:
        pass  # Redis forgets it by itself


def keep(key: str, part: Part, found: Found, *, lasting: bool) -> None:
    """Share a part that was built after looking."""
    if len(part.packed) > MOST_CHARACTERS:
        log.info("part.too_large", page=part.name, characters=len(part.packed))
        return
    generation = found.generation
    _remembered.put(key, _Remembered(part, generation, time.monotonic() + FRESH_SECONDS))
    fields: Any = {**vars(part), "at": part.at.isoformat(), "polls": int(part.polls)}
    fields["generation"] = generation
    fields["packed"] = json.dumps(secrets.seal(part.packed))  # it may show what is in a payload
    try:
        with outages.redis.asked(), redis().pipeline(transaction=False) as said:
            said.hset(_part_key(key), mapping=fields)
            said.expire(_part_key(key), LASTING_SECONDS if lasting else KEPT_SECONDS)
            said.set(_fresh_key(key), generation, px=round(FRESH_SECONDS * 1000))
            said.execute()
    except outages.NO_REDIS:
        pass  # it stays in this process


def last(key: str) -> Part | None:
    """Return the last good part, however old; `None`: it is not kept."""
    try:
        with outages.redis.asked():
            found: dict[str, str] = redis().hgetall(_part_key(key))  # type: ignore[assignment]
    except outages.NO_REDIS:
        found = {}
    if found and (part := _read(found)):
        _remembered.put(key, _Remembered(part, "", float("-inf")))
        return part
    kept = _remembered.get(key)
    return kept.part if kept else None


def _read(found: dict[str, str]) -> Part | None:
    try:
        packed = secrets.open_(json.loads(found["packed"]))
    except secrets.Undecryptable:  # of a process with other keys
        return None
    at, dead = datetime.fromisoformat(found["at"]), int(found["dead"])
    return Part(found["name"], found["rev"], at, dead, found["polls"] == "1", packed)


def forget() -> None:
    """Have every part built anew: a person who just acted wants to see it."""
    counts.forget()
    _generation.own += 1
    try:
        with outages.redis.asked():
            redis().incr(_generation_key())
    except outages.NO_REDIS:
        pass  # the other processes see it within `FRESH_SECONDS`
