"""The geometry of charts: numbers in, paths and labels out. Pages draw them as SVG, each scaled."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 600
HEIGHT: Final = 120
SPARK_WIDTH, SPARK_HEIGHT = 60, 16
STEPS: Final = 4  # between the labels of an axis
LEAST_MS, MOST_DECADES = 1.0, 8  # a logarithmic axis begins at 1 ms and ends at 28 hours at most

Values = Sequence[float | None]
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Line:
    """One line of a chart. `path` is SVG's; `last` is the newest value that is known."""

    name: str
    path: str
    last: float | None


@dataclass(frozen=True)
class Chart:
    """Lines over the same minutes. `ticks` are the labels of the axis, from its top down."""

    lines: list[Line]
    ticks: list[float]
    empty: bool


def counts(series: Mapping[str, Values]) -> Chart:
    """Return a chart whose axis begins at nothing."""
    top = _nice(max(_known(series), default=0.0))
    ticks = [top * step / STEPS for step in range(STEPS, -1, -1)]
    return _chart(series, ticks, lambda value: value / top)


def times(series: Mapping[str, Values]) -> Chart:
    """Return a chart of milliseconds with a logarithmic axis: of 5 ms and of 5 minutes alike."""
    most = max(_known(series), default=LEAST_MS)
    decades = max(STEPS, min(math.ceil(math.log10(max(most, LEAST_MS)) - 1e-9), MOST_DECADES))
    ticks = [LEAST_MS * 10**power for power in range(decades, -1, -1)]
    return _chart(series, ticks, lambda value: math.log10(max(value, LEAST_MS)) / decades)


def sparkline(values: Values) -> str:
    """Return a small line without an axis: its lowest value is at the bottom."""
    known = [value for value in values if value is not None]
    low = min(known, default=0.0)
    span = max(known, default=0.0) - low or 1.0
    return _path(values, lambda value: (value - low) / span, SPARK_WIDTH, SPARK_HEIGHT)


def _known(series: Mapping[str, Values]) -> list[float]:
    return [value for values in series.values() for value in values if value is not None]


def _nice(most: float) -> float:
    """Return the next number that four steps divide into ones that people read with ease."""
    if most <= 5 * STEPS:
        return STEPS * float(max(math.ceil(most / STEPS), 1))  # whole numbers of things
    decade = 10.0 ** math.floor(math.log10(most))
    steps = (factor * decade for factor in (1, 2, 4, 6, 8, 10))
    return next(top for top in steps if top >= most)


def _chart(series: Mapping[str, Values], ticks: list[float], scale: Scale) -> Chart:
    lines = [
        Line(
            name,
            _path(values, scale, WIDTH, HEIGHT),
            next((value for value in reversed(values) if value is not None), None),
        )
        for name, values in series.items()
    ]
    return Chart(lines, ticks, not any(_known(series)))


def _path(values: Values, scale: Scale, width: int, height: int) -> str:
    """Return the path through the values; where one is unknown, it is broken."""
    step = width / max(len(values) - 1, 1)
    parts, pen = [], "M"
    for place, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        up = height * (1 - min(max(scale(value), 0.0), 1.0))
        parts.append(f"{pen}{place * step:.1f} {up:.1f}")
        pen = "L"
    # A single point is drawn as a dot: a line of no length with round ends.
    return "".join(part + ("h0" if _alone(parts, at) else "") for at, part in enumerate(parts))


def _alone(parts: Sequence[str], at: int) -> bool:
    follows = at + 1 < len(parts) and parts[at + 1][0] == "L"
    return parts[at][0] == "M" and not follows
