"""The lanes in Redis. A lane is a list of job ids: in at the left, out at the right.

What is here are hints: lost, they are found again by repair; doubled, they die at the claim guard.
"""

import time
from binascii import hexlify
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import structlog
from bson import ObjectId
from bson.errors import InvalidId
from django.conf import settings
from redis import Redis
from redis.commands.core import Script
from redis.exceptions import RedisError

from jobs.clients import BLOCK_SECONDS, redis
from jobs.registry import PRIORITIES, Lane

log = structlog.get_logger(__name__)
SKIP_SECONDS = 2.0  # after a failed push: an unreachable Redis may cost one caller its timeout
# Ids in one command: Redis refuses as a whole what does not fit in its memory, for ever if nothing
# smaller is tried.
PUSH_IDS = 500
LUA = Path(__file__).parent / "lua"


def key(lane: Lane) -> str:
    """LIST of job ids."""
    return f"{settings.REDIS_PREFIX}:lane:{lane.queue}:{lane.priority}"


def in_order(queues: Sequence[str]) -> list[Lane]:
    """Return the lanes of these queues in the order in which they are served: strict priority."""
    return [Lane(queue, priority) for priority in PRIORITIES for queue in queues]


class Breaker:
    """Remembers that Redis failed, so that not every caller waits for it."""

    def __init__(self) -> None:
        self.closed_at = float("-inf")

    def open(self) -> bool:
        return time.monotonic() < self.closed_at

    def trip(self) -> None:
        self.closed_at = time.monotonic() + SKIP_SECONDS


_breaker = Breaker()


def push(hints: Iterable[tuple[ObjectId, Lane]]) -> bool:
    """Put ids at the end of their lanes. `False`: Redis is away, so repair will do it."""
    return _push(hints, at_head=False)


def push_at_head(hints: Iterable[tuple[ObjectId, Lane]]) -> bool:
    """Put ids at the head of their lanes, the first of them to be taken next. As `push`."""
    return _push(hints, at_head=True)


def _push(hints: Iterable[tuple[ObjectId, Lane]], *, at_head: bool) -> bool:
    by_lane: dict[Lane, list[bytes]] = defaultdict(list)
    for id, lane in hints:
        by_lane[lane].append(hexlify(id.binary))  # as text it would be encoded again
    if not by_lane or _breaker.open():
        return not by_lane
    pieces = [
        (key(lane), line[start : start + PUSH_IDS])
        for lane, ids in by_lane.items()
        for line in [ids[::-1] if at_head else ids]
        for start in range(0, len(line), PUSH_IDS)
    ]
    try:
        if len(pieces) == 1:  # as for a single job: a pipeline takes twice as long
            _add(redis(), *pieces[0], at_head=at_head)
        else:
            with redis().pipeline(transaction=False) as pipeline:
                for piece in pieces:
                    _add(pipeline, *piece, at_head=at_head)
                pipeline.execute()
    except RedisError as error:
        _breaker.trip()
        log.warning("lane.push_failed", error=str(error), jobs=sum(map(len, by_lane.values())))
        return False
    return True


def _add(client: Redis, name: str, ids: list[bytes], *, at_head: bool) -> None:
    (client.rpush if at_head else client.lpush)(name, *ids)


@cache
def script(name: str) -> str:
    """Return the text of a script of `jobs/lua`."""
    return (LUA / f"{name}.lua").read_text()


def fetch(
    client: Redis, lanes: Sequence[Lane], count: int, *, empty: bool = False
) -> list[ObjectId]:
    """Take up to `count` ids from the heads of the lanes, in order; sleep up to a second for one.

    `empty`: the lanes were, so do not look before sleeping. Raises `RedisError`; the ids of a lost
    reply are found again by repair.
    """
    keys: list[Any] = [key(lane) for lane in lanes]
    more = partial(Script(client, script("fetch")), keys=keys)
    taken: list[str] = more(args=[count]) if count > 1 and not empty else []
    if not taken and (reply := client.brpop(keys, timeout=BLOCK_SECONDS)):
        taken = [str(reply[1])]
        try:
            taken += more(args=[count - 1]) if count > 1 else []  # jobs often come together
        except RedisError as error:  # what it has taken by then is in hand
            log.warning("lane.fetch_cut_short", error=str(error)[:200])
    return [id for id in map(_object_id, taken) if id is not None]


def head(lane: Lane, count: int) -> list[ObjectId]:
    """Return the ids that are taken next, without taking them. Raises `RedisError`."""
    ids = redis().lrange(key(lane), -count, -1)
    return [id for id in map(_object_id, ids) if id is not None]  # type: ignore[arg-type]


def holds(lane: Lane, id: ObjectId, within: int) -> bool | None:
    """Return whether a lane has an id. Raises `RedisError`.

    `None`: it is not among the first `within`, and there are more.
    """
    with redis().pipeline() as asked:  # as one: what is pushed in between would count as more
        asked.lpos(key(lane), str(id), rank=-1, maxlen=within)
        asked.llen(key(lane))
        place, length = asked.execute()
    if place is not None:
        return True
    return None if length > within else False


def ids(lane: Lane, piece: int = 10_000) -> Iterator[list[bytes]]:
    """Yield all ids of a lane, in bounded pieces of binary ids, without taking them.

    From its end to its head, so that whatever stays in the lane meanwhile is read: what is pushed
    moves ids onwards, and a move at the head comes last. Raises `RedisError`.
    """
    start, last = 0, list[str]()
    while found := cast("list[str]", redis().lrange(key(lane), start, start + piece - 1)):
        new = _without_overlap(last, found)
        yield [id.binary for id in map(_object_id, new) if id is not None]
        start, last = start + piece, found


def _without_overlap(last: list[str], found: list[str]) -> list[str]:
    """Leave out what pushes at the end have moved from the last piece into this one."""
    if found[0] not in last:
        return found
    moved = last[::-1].index(found[0]) + 1
    return found[moved:] if last[-moved:] == found[:moved] else found


def _object_id(text: str) -> ObjectId | None:
    """Read an id; `None` for anything else that somebody put into a lane."""
    try:
        return ObjectId(text)
    except InvalidId:
        log.warning("lane.garbage", found=text[:80])
        return None
