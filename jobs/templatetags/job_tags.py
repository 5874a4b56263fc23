"""How pages show values. Nothing here asks a store, nothing here marks text as safe."""

import json
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from django import template
from django.http import QueryDict
from django.template.loader import render_to_string
from django.urls import get_script_prefix, reverse
from django.utils.html import format_html, format_html_join

from jobs.roles import CHANGING
from jobs.rows import Row

register = template.Library()

STATE_ICONS = {
    "scheduled": "calendar-clock",
    "pending": "circle-dashed",
    "running": "loader",
    "retrying": "timer-reset",
    "completed": "circle-check",
    "dead": "octagon-x",
    "cancelled": "ban",
}
OUTCOME_ICONS = {
    "completed": "circle-check",
    "failed": "x",
    "timed_out": "timer-reset",
    "crashed": "triangle-alert",
    "lost": "triangle-alert",
}
OPERATION_ICONS = {
    "running": "loader",
    "stopped": "pause",
    "completed": "circle-check",
    "failed": "triangle-alert",
}
WORKER_ICONS = {"live": "radio", "quiet": "pause", "lost": "triangle-alert", "ended": "ban"}
WHEN = '<time datetime="{0}" title="{1}" data-manner="{2}">{1}</time>'
ACT = (
    'form="act" formaction="{0}" hx-post="{0}" hx-target="#messages" hx-swap="innerHTML"'
    ' hx-sync="this:drop"'
)
MINUTES = 2_000  # rows of charts that a process remembers: those of some 15 pages
ROWS = 500  # and of lists of jobs: those of ten pages; with the longest tracebacks 20 MB and more
SECONDS = (("d", 86400), ("h", 3600), ("m", 60))


@register.filter
def may_change(rights: frozenset[str]) -> bool:
    """Whether these rights allow any change."""
    return not CHANGING.isdisjoint(rights)


@register.simple_tag
def act(view: str, *args: Any) -> str:
    """What makes a button change something: in place, or by the form where no script runs.

    It is sent whatever else is under way, for example a refresh; but one at a time.
    """
    return format_html(ACT, reverse(view, args=args))


# Rendered once for each name: a list has hundreds of them, which took most of its time.


@register.simple_tag
@cache
def icon(name: str) -> str:
    """A symbol of the sprite; the word next to it carries the meaning."""
    return render_to_string("parts/icon.html", {"name": name})


@cache
def _state(name: str, icon_name: str) -> str:
    return render_to_string("parts/state.html", {"name": name, "icon_name": icon_name})


@register.simple_tag
def state(name: str) -> str:
    """A job's state: icon, colour and word."""
    return _state(name, STATE_ICONS.get(name, "info"))


@register.simple_tag
def outcome(name: str) -> str:
    """How an attempt ended: icon, colour and word."""
    return _state(name, OUTCOME_ICONS.get(name, "info"))


@register.simple_tag
def worker_state(name: str) -> str:
    """A worker's state: icon, colour and word."""
    return _state(name, WORKER_ICONS.get(name, "info"))


@register.simple_tag
def operation_state(name: str) -> str:
    """Where a bulk operation is: icon, colour and word."""
    return _state(name, OPERATION_ICONS.get(name, "info"))


@register.simple_tag
def when(moment: datetime | None, manner: str = "ago") -> str:
    """A moment, absolute; a script says it in the `manner` of ago, age, since or until.

    Said relatively by the server, it would make every answer differ from the last.
    """
    if moment is None:
        return ""
    utc = moment.astimezone(UTC)
    return format_html(WHEN, utc.isoformat(), f"{utc:%Y-%m-%d %H:%M:%S} UTC", manner)


@register.simple_tag
@lru_cache(MINUTES)
def minute(at: datetime, values: tuple[str, ...]) -> str:
    """A row of a chart's table: the same in the next part, unless it is of the last minutes."""
    cells = format_html_join("", '<td class="num">{}</td>', ((value,) for value in values))
    return format_html('<tr><th scope="row">{}</th>{}</tr>', f"{at.astimezone(UTC):%H:%M}", cells)


@register.simple_tag
def row(template: str, job: Row, **shown: Hashable) -> str:
    """A job in a list: the same in the next part, unless it has moved."""
    return rendered_row(template, job, get_script_prefix(), **shown)


@lru_cache(ROWS)
def rendered_row(template: str, job: Row, at: str, **shown: Hashable) -> str:
    """A row as it was rendered once. `at`: what its links begin with."""
    return render_to_string(f"parts/{template}.html", {"job": job, **shown})


@register.filter
def short_id(id: object) -> str:
    """The end of an id, which is what differs between neighbours."""
    return str(id)[-8:]


@register.filter
def number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


@register.filter
def duration(seconds: float | None) -> str:
    """A length of time in two units at most: 4 ms, 1.2 s, 3 m 10 s."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return _two_units(round(seconds))


def _two_units(seconds: int) -> str:
    parts = []
    for unit, length in (*SECONDS, ("s", 1)):
        count, seconds = divmod(seconds, length)
        parts += [f"{count} {unit}"] if count else []
    return " ".join(parts[:2])


@register.filter(name="bytes")
def size(number: int | None) -> str:
    """A number of bytes: 312 B, 1.2 kB, 48 MB."""
    amount, unit = float(number or 0), "B"
    for larger in ("kB", "MB", "GB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}" if unit != "B" and amount < 10 else f"{amount:.0f} {unit}"


@register.filter
def span(seconds: float) -> str:
    """A length of time that somebody chose: 2 m, 1 h 30 m."""
    return _two_units(round(seconds)) if seconds >= 1 else f"{seconds * 1000:.0f} ms"


@register.filter
def about(seconds: float) -> str:
    """A length of time that is an estimate."""
    for unit, length in SECONDS:
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return "a minute" if seconds >= 30 else "half a minute"


@register.filter
def rate(value: float) -> str:
    """A number in a minute, with a decimal where it is small."""
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


@register.filter
def signed(value: int) -> str:
    """A change, with its sign."""
    return f"{value:+,}".replace("-", "\N{MINUS SIGN}") if value else "±0"


@register.filter
def first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0][:300]


@register.filter
def pretty_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.filter
def get(mapping: Mapping[Any, Any], key: object) -> object:
    """The value of a key that is itself a variable; nothing if it is not there."""
    return mapping.get(key)


@register.simple_tag
def query(chosen: Mapping[str, str], **changes: object) -> str:
    """The query string of an address: what is chosen, changed; without what is empty."""
    merged = QueryDict(mutable=True)
    for name, value in {**chosen, **changes}.items():
        if value:
            merged[name] = str(value)
    return f"?{merged.urlencode()}" if merged else "?"
