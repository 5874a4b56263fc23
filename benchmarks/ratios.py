"""What has been promised, beside what was measured: computed, whichever way it turns out."""

from dataclasses import dataclass
from typing import Any

from benchmarks.figures import Figure, Results, figure, last, number

IDEAL_WAITING = 1_500.0  # jobs a second: 3 x 50 that take 0.1 s each
HEARTBEATS = {"workers", "stewards"}  # the collections that say who lives


@dataclass(frozen=True)
class Key:
    """Which figure: of which system in which workload."""

    system: str
    workload: str
    name: str

    def of(self, results: Results) -> Figure | None:
        return figure(results, self.system, self.workload, self.name)


@dataclass(frozen=True)
class Row:
    """One promise and what came of it. `met`: `None` where something was not measured."""

    what: str
    ours: str
    other: str
    ratio: str
    target: str
    met: bool | None

    @property
    def verdict(self) -> str:
        return "not measured" if self.met is None else "met" if self.met else "**not met**"


@dataclass(frozen=True)
class Promise:
    """`ours / other` (or `ours` alone) is at least, or at most, `bound`."""

    what: str
    ours: Key
    bound: float
    other: Key | float | None = None
    at_most: bool = False
    unit: str = ""
    times: float = 1.0  # of the other one, which is how many of it are compared
    strict: bool = False  # the bound itself does not do

    def row(self, results: Results) -> Row:
        ours = self.ours.of(results)
        other = self.other.of(results) if isinstance(self.other, Key) else self.other
        theirs = other.median if isinstance(other, Figure) else other
        sign = ("<" if self.strict else "≤") if self.at_most else (">" if self.strict else "≥")
        shown = (_shown(ours.median if ours else None, self.unit), _shown(theirs, self.unit))
        compared = self.other is not None
        target = f"{sign} {self.bound:g}{' ×' if compared else _unit(self.unit)}"
        if ours is None or (compared and not theirs):
            return Row(self.what, *shown, "–", target, None)
        value = ours.median / (self.times * theirs) if theirs else ours.median
        ratio = f"{value:.2f}" if compared else ""
        return Row(self.what, *shown, ratio, target, self._holds(value))

    def _holds(self, value: float) -> bool:
        if value == self.bound:
            return not self.strict
        return value < self.bound if self.at_most else value > self.bound


def _shown(value: float | None, unit: str) -> str:
    return "–" if value is None else number(value) + _unit(unit)


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _drain(label: str, system: str, bound: float) -> Promise:
    ours = Key("ours", "drain", "drain")
    return Promise(f"Drain of no-ops: {label}", ours, bound, Key(system, "drain", "drain"))


IDLE_P50, IDLE_P99 = Key("ours", "pickup", "p50"), Key("ours", "pickup", "p99")
ALONE = Key("ours", "scaling", "processes_1")
PROMISES = (
    _drain("Sidekiq", "sidekiq", 1.5),
    _drain("BullMQ, concurrency 50", "bullmq", 1.8),
    _drain("Huey", "huey", 2.3),
    _drain("Celery without results", "celery", 15),
    _drain("RQ", "rq", 25),
    _drain("RQ without forks", "rq-simple", 25),
    _drain("the limit", "limit", 0.8),
    Promise(
        "Drain with results: Sidekiq without",
        Key("ours", "results", "results"),
        1.3,
        Key("sidekiq", "drain", "drain"),
    ),
    Promise(
        "Bulk enqueue: BullMQ's `addBulk`",
        Key("ours", "drain", "bulk"),
        1.7,
        Key("bullmq", "drain", "bulk"),
    ),
    Promise(
        "Bulk enqueue: bare `insert_many`",
        Key("ours", "drain", "bulk"),
        0.85,
        Key("limit", "drain", "bulk"),
    ),
    Promise(
        "One at a time: bare `insert_one` + `LPUSH`",
        Key("ours", "enqueue", "one"),
        0.85,
        Key("limit", "enqueue", "one"),
    ),
    Promise(
        "Pickup at idle, p50, ms: the limit",
        IDLE_P50,
        1.3,
        Key("limit", "pickup", "p50"),
        at_most=True,
    ),
    Promise(
        "Pickup at idle, p50, ms: Celery",
        IDLE_P50,
        1.0,
        Key("celery", "pickup", "p50"),
        at_most=True,
        strict=True,
    ),
    Promise("Pickup at idle, p99, ms: our p50", IDLE_P99, 3.0, IDLE_P50, at_most=True),
    Promise(
        "Pickup under half load, p99",
        Key("ours", "pickup", "half_p99"),
        50,
        at_most=True,
        unit="ms",
    ),
    Promise(
        "Mixed durations, p99 wait of the quick jobs",
        Key("ours", "mixed", "p99"),
        500,
        at_most=True,
        strict=True,
        unit="ms",
    ),
    Promise(
        "The same with a fixed prefetch of 200: shows seconds",
        Key("ours-fixed", "mixed", "p99"),
        1_000,
        unit="ms",
    ),
    Promise(
        "Jobs that wait, 3 × 50 at once: the ideal 1,500/s",
        Key("ours", "io", "io"),
        0.9,
        IDEAL_WAITING,
    ),
    Promise(
        "Jobs that wait, 3 processes: 3 × one",
        Key("ours", "scaling", "processes_3"),
        0.95,
        ALONE,
        times=3,
    ),
    Promise(
        "Jobs that wait, 6 processes: 6 × one",
        Key("ours", "scaling", "processes_6"),
        0.95,
        ALONE,
        times=6,
    ),
    Promise(
        "Idle: CPU of the whole tree, % of one core",
        Key("ours", "idle", "cpu"),
        1.0,
        at_most=True,
        strict=True,
        unit="%",
    ),
    Promise(
        "Idle: memory (PSS), MiB: Celery with three children",
        Key("ours", "idle", "memory"),
        1.0,
        Key("celery", "idle", "memory"),
        at_most=True,
        strict=True,
    ),
)
SCALE_PROMISES = (
    Promise(
        "Scale: drain with a full database: with an empty one",
        Key("full", "drain", "drain"),
        0.8,
        Key("empty", "drain", "drain"),
    ),
    Promise(
        "Scale: the overview's queries, six minutes after 100,000 jobs",
        Key("full", "rested", "milliseconds"),
        20,
        at_most=True,
        strict=True,
        unit="ms",
    ),
    Promise(
        "Scale: the same right after them",
        Key("full", "overview", "milliseconds"),
        20,
        at_most=True,
        strict=True,
        unit="ms",
    ),
)


def rows(results: Results, scale: Results | None) -> list[Row]:
    """Return every promise; those of the scale run are not measured where there was none."""
    found = [promise.row(results) for promise in PROMISES]
    found.append(writes(last(results, "ours", "idle", "writes")))
    return found + [promise.row(scale or {}) for promise in SCALE_PROMISES]


def writes(seen: dict[str, Any] | None) -> Row:
    what, target = "Idle: MongoDB writes besides heartbeats", "none"
    if seen is None:
        return Row(what, "–", "–", "–", target, None)
    others = {name: count for name, count in seen.items() if name.split(" ")[1] not in HEARTBEATS}
    shown = ", ".join(f"{count} × {name}" for name, count in others.items()) or "none"
    return Row(what, shown, "", "", target, not others)
