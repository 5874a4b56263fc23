"""A job's life as spans of time, drawn to scale. Pure: it is given the job and the moment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

WHOLE = 1000  # the width of all spans
LEAST = 6  # a span is as wide at least, however short, so that it is seen
KEPT = 50  # attempts; those before are not kept
FAILED = ("failed", "timed_out")
WORDS = {
    "waited": "waited for a worker",
    "scheduled": "waited for its time",
    "backoff": "back-off",
    "between": "back-off and wait for a worker",
    "rested": "rested until it was requeued",
    "left_out": "earlier attempts, not kept",
    "running": "runs",
}


class Attempt(Protocol):
    """What is asked of an attempt; see `models.Attempt`."""

    attempt: int
    claim: int
    started_at: datetime
    ended_at: datetime
    outcome: str


class Job(Protocol):
    """What is asked of a job; see `models.Job`."""

    status: str
    claim: int
    attempt: int
    created_at: datetime
    enqueued_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    attempts: Sequence[Attempt]


@dataclass(frozen=True)
class Span:
    """A stretch of a job's life. `x` and `width` are parts of `WHOLE`."""

    kind: str  # one of WORDS, or how an attempt ended
    start: datetime
    end: datetime | None  # None: it goes on
    attempt: int = 0  # its number; 0: the span is no attempt
    claim: int = 0
    x: int = 0
    width: int = 0

    @property
    def words(self) -> str:
        return WORDS.get(self.kind, self.kind.replace("_", " "))

    @property
    def seconds(self) -> float | None:
        return (self.end - self.start).total_seconds() if self.end else None


def spans(job: Job, now: datetime) -> list[Span]:
    """Return what became of the job so far, and what it waits for, in the order of time."""
    found = [span for span in _spans(job) if span.end is None or span.end > span.start]
    lengths = [((span.end or now) - span.start).total_seconds() for span in found]
    widths = _widths([max(length, 0.0) for length in lengths])
    places = [sum(widths[:place]) for place in range(len(widths))]
    return [
        replace(span, x=x, width=width)
        for span, x, width in zip(found, places, widths, strict=True)
    ]


def _widths(lengths: Sequence[float]) -> list[int]:
    """Share out the whole: to scale, except for what would be too short to be seen."""
    total = sum(lengths)
    if not total:
        return [WHOLE // len(lengths) for _ in lengths]
    short = [length * WHOLE / total < LEAST for length in lengths]
    room = WHOLE - LEAST * sum(short)
    long = sum(length for length, is_short in zip(lengths, short, strict=True) if not is_short)
    return [
        LEAST if is_short else int(length * room / long)
        for length, is_short in zip(lengths, short, strict=True)
    ]


def _spans(job: Job) -> Iterator[Span]:
    last: Attempt | None = None
    since = job.created_at
    for attempt in job.attempts:
        yield from _gap(job, last, attempt.attempt, since, attempt.started_at)
        ran, ended = attempt.started_at, attempt.ended_at
        yield Span(attempt.outcome, ran, ended, attempt.attempt, attempt.claim)
        last, since = attempt, attempt.ended_at
    yield from _now(job, last, since)


def _now(job: Job, last: Attempt | None, since: datetime) -> Iterator[Span]:
    """Yield what came after the last attempt: where the job is now."""
    match job.status:
        case "running" if job.started_at:
            yield from _gap(job, last, job.attempt + 1, since, job.started_at)
            yield Span("running", job.started_at, None, job.attempt + 1, job.claim)
        case "pending":
            yield from _gap(job, last, job.attempt + 1, since, None)
        case "scheduled" | "retrying" if job.run_at:
            yield Span("backoff" if job.status == "retrying" else "scheduled", since, job.run_at)
        case "cancelled" if job.finished_at:
            yield Span("rested" if last else "waited", since, job.finished_at)


def _gap(
    job: Job, last: Attempt | None, attempt: int, since: datetime, until: datetime | None
) -> Iterator[Span]:
    """Yield what a job did before an attempt: until it was in its lane, and there.

    Only of the last time is it kept when that was.
    """
    placed = job.enqueued_at
    before, whole = _between(job, last, attempt)
    if placed > since and (until is None or placed <= until):
        yield Span(before, since, placed)
        yield Span("waited", placed, until)
    else:
        yield Span(whole, since, until)


def _between(job: Job, last: Attempt | None, attempt: int) -> tuple[str, str]:
    """Return what it did until it was in its lane, and what in all, where that is not known."""
    if last is None:
        return ("left_out", "left_out") if len(job.attempts) >= KEPT else ("scheduled", "waited")
    if last.outcome not in FAILED:
        return "waited", "waited"
    return ("backoff", "between") if attempt > last.attempt else ("rested", "rested")
