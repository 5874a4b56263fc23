"""Why a job is not running: its place, what blocks it, and when it may start.

`why` asks the stores, within bounds; `explain` says what it means, and asks nothing.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from redis.exceptions import RedisError

from jobs import counts, lanes, mongodb, repository, selectors
from jobs.models import Job
from jobs.registry import Lane
from jobs.states import WAITING, State

COUNTED = 10_000  # jobs ahead in its own lane; more are not counted
SOUGHT = 1_000  # ids looked at in the lane beyond those that should be ahead
RATE_MINUTES = 5
RATE_QUEUES = 5  # of so many queues at most the rate is read
REPAIR_SECONDS = 3.0  # within which a steward has put back what a lane lacks, once its turn comes
LATE_SECONDS = 3.0  # a due job is promoted sooner than that, if any steward runs


@dataclass(frozen=True)
class Block:
    """Something that keeps a job waiting. `code` is stable; `remedy` may be empty."""

    code: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Ahead:
    """How many jobs of a lane are taken before the job; `capped`: that many or more."""

    lane: Lane
    jobs: int
    capped: bool = False


@dataclass(frozen=True)
class Why:
    """Why a job is not running. `blocks` is empty for one that only waits its turn, or does not.

    `ahead` counts the jobs that are taken before it, `None` while it waits for a time; `capped`:
    there are that many or more. Without an `estimate_seconds`, `basis` says why there is none.
    """

    status: str
    waits: bool
    summary: str
    blocks: list[Block] = field(default_factory=list)
    ahead: int | None = None
    capped: bool = False
    lanes: list[Ahead] = field(default_factory=list)
    estimate_seconds: float | None = None
    basis: str = ""


@dataclass(frozen=True)
class Server:
    """A live worker: what it serves in order, what it has code for (`None`: unknown)."""

    queues: Sequence[str]
    types: Sequence[str] | None
    quiet: bool
    slots: int
    busy: int  # of its slots


@dataclass(frozen=True)
class Rate:
    """How many executions ended lately in some queues, and within how many seconds."""

    ended: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.ended / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a job that waits, and of what it waits for."""

    type: str
    lane: Lane
    status: State
    now: datetime
    run_at: datetime | None = None
    servers: Sequence[Server] = ()
    paused: str = ""  # a sentence on by whom and since when; empty: its queue is not paused
    ahead: Sequence[Ahead] = ()  # of the lanes taken before its own, and of its own, in order
    in_lane: bool | None = True  # None: it was not looked for, or not far enough
    redis: bool = True
    rate: Rate | None = None  # None: it was not read
    known: frozenset[str] | None = None  # what who asks may know of; None: all queues

    def names(self, queue: str) -> bool:
        return self.known is None or queue in self.known


def why(job: Job, known: frozenset[str] | None = None) -> Why:
    """Return why this job is not running. Raises `StoreDown`.

    `known`: the only queues that it names; `None`: all.
    """
    status = State(job.status)
    if status not in (State.PENDING, *WAITING):
        return Why(job.status, waits=False, summary=_unwaiting(job))
    lane = Lane(job.queue, job.priority)
    servers = _servers()
    ahead = _ahead(job, lane, servers)
    redis, in_lane = _sought(job, lane, ahead)
    return explain(
        Facts(
            known=known,
            type=job.type,
            lane=lane,
            status=status,
            now=mongodb.now(),
            run_at=job.run_at,
            servers=servers,
            paused=_paused(job.queue),
            ahead=ahead,
            in_lane=in_lane,
            redis=redis,
            rate=_rate(ahead),
        )
    )


def _unwaiting(job: Job) -> str:
    if job.status == State.RUNNING:
        return "It is running: it waits for nothing."
    return f"It is {job.status}: it has ended, and waits for nothing."


# --- what the stores say ----------------------------------------------------------------------


def _servers() -> list[Server]:
    return [
        Server(
            view.worker.queues,
            view.worker.types,
            bool(view.worker.quiet),
            view.worker.concurrency,
            view.busy,
        )
        for view in selectors.workers(ended=False)
        if view.state == "live"
    ]


def _paused(queue: str) -> str:
    found = next((each for each in selectors.queues() if each.name == queue), None)
    if found is None or found.paused_at is None:
        return ""
    until = f" until {_moment(found.paused_until)}" if found.paused_until else ""
    reason = f": {found.paused_reason}" if found.paused_reason else "."
    since = _moment(found.paused_at)
    return f"Queue {queue} is paused{until}, by {found.paused_by} since {since}{reason}"


def _ahead(job: Job, lane: Lane, servers: Sequence[Server]) -> list[Ahead]:
    """Return what is taken before the job by those of its workers who come to it soonest."""
    stats = counts.stats()
    waiting = {each.lane: each.depth for each in stats.lanes if each.depth and not each.paused}
    orders = {tuple(server.queues) for server in _taking(servers, lane.queue)}
    before = min((_before(lane, order, waiting) for order in orders), key=_total, default=[])
    if job.status != State.PENDING:
        return [*before, Ahead(lane, waiting.get(lane, 0))]
    own = repository.count_ahead(lane, job.enqueued_at, job.id, COUNTED)
    return [*before, Ahead(lane, own, capped=own >= COUNTED)]


def _before(lane: Lane, queues: Sequence[str], waiting: dict[Lane, int]) -> list[Ahead]:
    order = lanes.in_order(queues)
    return [Ahead(each, waiting[each]) for each in order[: order.index(lane)] if each in waiting]


def _total(ahead: Sequence[Ahead]) -> int:
    return sum(each.jobs for each in ahead)


def _sought(job: Job, lane: Lane, ahead: Sequence[Ahead]) -> tuple[bool, bool | None]:
    """Return whether Redis answers, and whether it has the job in its lane."""
    own = ahead[-1]
    seek = job.status == State.PENDING and not own.capped
    try:
        found = lanes.holds(lane, job.id, own.jobs + SOUGHT if seek else 1)
    except RedisError:
        return False, None
    return True, found if seek else None


def _rate(ahead: Sequence[Ahead]) -> Rate | None:
    """Return how many executions ended lately in the queues that are ahead, from the first on."""
    queues = {each.lane.queue for each in ahead}
    if len(queues) > RATE_QUEUES:
        return None
    ended, since = 0, None
    for queue in queues:
        for minute in selectors.minutes(RATE_MINUTES, queue=queue):
            if number := sum(minute.outcomes.values()):
                ended += number
                since = min(since or minute.at, minute.at)
    return Rate(ended, (mongodb.now() - since).total_seconds()) if since else Rate(0, 0.0)


# --- what it means ----------------------------------------------------------------------------


def explain(facts: Facts) -> Why:
    """Return what these facts mean for the job."""
    blocks = list(_blocks(facts))
    timed = facts.status != State.PENDING
    ahead = _total(facts.ahead)
    capped = any(each.capped for each in facts.ahead)
    estimate, basis = _estimate(facts, blocks, ahead, capped=capped)
    return Why(
        status=facts.status,
        waits=True,
        summary=_summary(blocks, ahead, capped=capped),
        blocks=blocks,
        ahead=None if timed else ahead,
        capped=capped and not timed,
        lanes=[]
        if timed
        else [each for each in facts.ahead if each.jobs and facts.names(each.lane.queue)],
        estimate_seconds=estimate,
        basis=basis,
    )


def _summary(blocks: Sequence[Block], ahead: int, *, capped: bool) -> str:
    """Return the first block that is more than a queue's everyday, or where the job stands."""
    if said := [block.text for block in blocks if block.code not in ("behind", "busy")]:
        return said[0]
    if ahead:
        return f"It waits its turn: {_jobs(ahead, capped=capped)} ahead of it."
    soon = "as soon as a busy slot is free" if blocks else "in a moment"
    return f"It is next: a worker takes it {soon}."


def _blocks(facts: Facts) -> Iterator[Block]:
    """Yield what keeps the job waiting, what nobody can work past first."""
    if not facts.redis:
        yield Block(
            "redis_down",
            "Redis does not answer, so no worker gets a job. All are safe in MongoDB.",
            "Bring Redis back, empty or not: the lanes are filled again within seconds.",
        )
    if facts.paused:
        yield Block("paused", facts.paused, f"Resume queue {facts.lane.queue}.")
    yield from _time(facts)
    yield from _workers(facts)
    if facts.redis and facts.in_lane is False:
        yield Block(
            "not_in_lane",
            "Its id is not in its lane in Redis.",
            "Nothing: while a runworkers is live, a steward puts it back when its turn comes, "
            f"within some {REPAIR_SECONDS:g} s once nothing as old is in its lane.",
        )
    if before := ", ".join(_before_it(facts)):
        yield Block("behind", f"Its lane comes after others that hold jobs: {before}.")


def _before_it(facts: Facts) -> Iterator[str]:
    unnamed = 0
    for each in facts.ahead[:-1]:
        if not facts.names(each.lane.queue):
            unnamed += each.jobs
        elif each.jobs:
            yield f"{each.jobs:,} in {'/'.join(each.lane)}"
    if unnamed:
        yield f"{unnamed:,} in other queues"


def _time(facts: Facts) -> Iterator[Block]:
    if facts.status == State.PENDING or facts.run_at is None:
        return
    if facts.now > facts.run_at + timedelta(seconds=LATE_SECONDS):
        yield Block(
            "overdue",
            f"It was due at {_moment(facts.run_at)}, and no steward has made it pending.",
            "Look at the log of a runworkers, or start one: its steward does that.",
        )
    elif facts.status == State.RETRYING:
        yield Block("backoff", f"It failed, and is tried again at {_moment(facts.run_at)}.")
    else:
        yield Block("scheduled", f"It is not due before {_moment(facts.run_at)}.")


def _workers(facts: Facts) -> Iterator[Block]:
    queue = facts.lane.queue
    serving = [server for server in facts.servers if queue in server.queues]
    if not facts.servers:
        yield Block("no_worker", "No worker is live.", _start(queue))
    elif not serving:
        served = {name for server in facts.servers for name in server.queues if facts.names(name)}
        others = f"; those that are live serve {', '.join(sorted(served))}" if served else ""
        yield Block("no_worker", f"No live worker serves queue {queue}{others}.", _start(queue))
    elif all(server.quiet for server in serving):
        yield Block(
            "quiet",
            f"All workers that serve queue {queue} are quiet: they take no new job.",
            "Resume them on the page Workers, or start others.",
        )
    if serving and not any(_knows(server, facts.type) for server in serving):
        yield Block(
            "unknown_type",
            f"None of the workers that serve queue {queue} has code for {facts.type}: whichever "
            "takes it fails it.",
            "Deploy workers that have it, or pause the queue until then.",
        )
    taking = _taking(serving, queue)
    if facts.status == State.PENDING and _all_busy(taking):
        slots = sum(server.slots for server in taking)
        yield Block("busy", f"All {slots} slots of the workers that serve it are busy.")


def _start(queue: str) -> str:
    chosen = "" if queue == "default" else f" --queues {queue}"
    return f"Start some: manage.py runworkers{chosen}. Nothing that was accepted is lost."


def _knows(server: Server, type: str) -> bool:
    return server.types is None or type in server.types


def _taking(servers: Sequence[Server], queue: str) -> list[Server]:
    """Return the workers that take new jobs of a queue."""
    return [server for server in servers if queue in server.queues and not server.quiet]


def _all_busy(serving: Sequence[Server]) -> bool:
    return bool(serving) and all(server.busy >= server.slots for server in serving)


STOPPING = {"redis_down", "paused", "no_worker", "quiet", "overdue"}  # for nobody knows how long


def _estimate(
    facts: Facts, blocks: Sequence[Block], ahead: int, *, capped: bool
) -> tuple[float | None, str]:
    """Return in how many seconds it may start, and from what that follows; or why it does not."""
    codes = {block.code for block in blocks}
    if codes & STOPPING:
        return None, "none until that is over."
    due = max((facts.run_at - facts.now).total_seconds(), 0.0) if facts.run_at else 0.0
    named = f"due in {_length(due)}; " if due else ""
    count = _jobs(ahead, capped=capped)
    if not ahead and "busy" in codes:
        return None, "none: it starts when one of the busy slots is free."
    if not ahead:
        return float(round(due)), f"{named}nothing is ahead, and a slot is free."
    if facts.rate is None or not facts.rate.ended:
        said = "too many queues are served" if facts.rate is None else "nothing ended lately"
        return None, f"none: {named}{count} ahead, but {said} to tell how fast they go."
    rate = facts.rate.per_second
    least = "at least, with " if capped else ""
    return (
        float(math.ceil(due + ahead / rate)),  # what is behind others starts after them
        f"{named}{least}{count} ahead, {rate:.3g}/s over the last {_length(facts.rate.seconds)}; "
        "what comes into lanes before it would be added.",
    )


def _jobs(number: int, *, capped: bool) -> str:
    return f"{number:,}{' or more' if capped else ''} job{'' if number == 1 else 's'}"


def _length(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 90 * 60 else f"{seconds / 3600:.1f} hours"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
