"""The query language of the list of jobs: read, checked and printed. Pure: it asks no store.

`state:dead type:send_email -tag:bulk args.to:"*@x.com" age:>1h attempts:>2 created:2026-11-24..`
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from jobs.errors import FieldError, InvalidRequest
from jobs.registry import NAME, PRIORITIES
from jobs.states import State

Operator = Literal["", ">", ">=", "<", "<="]
LONGEST = 500  # characters
MOST_TERMS = 20
MOST_STARS = 3  # in one value: more make MongoDB's search for them slow
ARGS = "args."
FIELD = "query"  # as errors name it
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class BadQuery(InvalidRequest):
    """The query cannot be understood. `position`: where, from 1 on."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(FieldError(FIELD, f"at {position}: {message}"))
        self.position = position


@dataclass(frozen=True)
class Term:
    """One condition, printed by `str`. `name` is "" for a bare word.

    `start` and `end`: where it was read.
    """

    name: str
    value: str
    operator: Operator = ""
    negated: bool = False
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        minus, name = "-" if self.negated else "", f"{self.name}:" if self.name else ""
        return f"{minus}{name}{self.operator}{self._printed()}"

    def _printed(self) -> str:
        compared = self.name and kind(self.name).compares and self.value[:1] in "<>="
        misread = not self.name and (self.value[:1] == "-" or NAMED.match(self.value))
        if compared or misread or not BARE.fullmatch(self.value) or not self.value:
            escaped = self.value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
        return self.value


# --- what a field takes -----------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A field of the language: an example of it, what it finds, and whether a value is one."""

    example: str
    finds: str
    takes: Callable[[str], bool]
    compares: bool = False


def seconds(age: str) -> float | None:
    """Return the length of an age such as 1h; `None`: it is none."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhdw])", age, re.ASCII)
    return float(found[1]) * UNITS[found[2]] if found else None


NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def number(text: str) -> int | float | None:
    """Return the number that a text is, as JSON and MongoDB have it; `None`: it is none."""
    if not NUMBER.fullmatch(text):
        return None
    if text.removeprefix("-").isdigit() and -(2**63) <= int(text) < 2**63:
        return int(text)
    return float(text) if math.isfinite(float(text)) else None


Period = tuple[datetime | None, datetime | None]
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")  # Python reads weeks as well, as their Monday


def period(text: str) -> Period | None:
    """Return from when on and before when: a day, or A.., ..B, A..B; `None`: it is none of these.

    A day at the end is within. Without a zone, times are UTC.
    """
    first, dots, last = text.partition("..")
    since, until = _moment(first), _end(last if dots else first)
    given = [part for part in ((first, last) if dots else (first,)) if part]
    read = [moment for part, moment in ((first, since), (last, until)) if part and moment]
    if not given or len(read) < len(given) or not (dots or DAY.fullmatch(first)):
        return None
    return since, until


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if not DAY.match(text) or not 1970 <= moment.year <= 9000:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _end(text: str) -> datetime | None:
    moment = _moment(text)
    return moment + timedelta(days=1) if moment and DAY.fullmatch(text) else moment


def _is_name(value: str) -> bool:
    return NAME.fullmatch(value) is not None


def _is_text(value: str) -> bool:
    return bool(value.strip())


def _is_id(value: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{24}", value, re.ASCII) is not None


def _is_fingerprint(value: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{16}", value, re.ASCII) is not None


STATES = [state.value for state in State]
KINDS: dict[str, Kind] = {
    "state": Kind("state:dead", f"one of {', '.join(STATES)}", STATES.__contains__),
    "type": Kind("type:send_email", "a job type", _is_name),
    "queue": Kind("queue:default", "a queue", _is_name),
    "priority": Kind(
        "priority:low", f"one of {', '.join(PRIORITIES)}", list(PRIORITIES).__contains__
    ),
    "tag": Kind("tag:bulk", "a tag", _is_name),
    "id": Kind("id:6743f0…", "a job's id, 24 hexadecimal digits", _is_id),
    "worker": Kind(
        "worker:host:4711",
        "who holds it or held it last: its id or, until a day after its end, host or host:pid",
        _is_text,
    ),
    "error": Kind("error:timeout", "text or kind of its last error", _is_text),
    "fingerprint": Kind(
        "fingerprint:0123456789abcdef", "failures alike, 16 hexadecimal digits", _is_fingerprint
    ),
    "age": Kind(
        "age:>1h",
        "time since it was created, in s, m, h, d or w",
        lambda value: seconds(value) is not None,
        compares=True,
    ),
    "attempts": Kind(
        "attempts:>2",
        "attempts used up",
        lambda value: number(value) is not None,
        compares=True,
    ),
    "created": Kind(
        "created:2026-11-24..",
        "a day, or from..until, in UTC unless it has a zone",
        lambda value: period(value) is not None,
    ),
    ARGS: Kind('args.to:"*@x.com"', "a payload field; * stands for anything", _is_text, True),
}
NAMED = re.compile(r'([A-Za-z_][^\s":]*):', re.ASCII)
PATH = re.compile(r"[A-Za-z0-9_-]{1,100}(\.[A-Za-z0-9_-]{1,100}){0,9}", re.ASCII)
BARE = re.compile(r'[^\s"]*')
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
OPERATOR = re.compile(r"[<>]=?")
WORD = re.compile(r'(?:"(?:[^"\\]|\\.)*(?:"|$)|[^\s"])+', re.DOTALL)


def kind(name: str) -> Kind:
    """Return what a field of the language takes."""
    return KINDS[ARGS if name.startswith(ARGS) else name]


# --- reading ----------------------------------------------------------------------------------


def parse(text: str) -> list[Term]:
    """Return the conditions that a text asks for, all of which must hold. Raises `BadQuery`."""
    if len(text) > LONGEST:
        raise BadQuery(LONGEST + 1, f"it is too long: use at most {LONGEST} characters.")
    for place, character in enumerate(text, 1):
        if unicodedata.category(character) in ("Cc", "Cs") and not character.isspace():
            raise BadQuery(place, "this character cannot be searched for: leave it out.")
    terms: list[Term] = []
    at = _skip(text, 0)
    while at < len(text):
        if len(terms) == MOST_TERMS:
            raise BadQuery(at + 1, f"it has too many terms: use at most {MOST_TERMS}.")
        terms.append(_term(text, at))
        at = _skip(text, terms[-1].end)
    return terms


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _term(text: str, start: int) -> Term:
    at = start
    if negated := text[at] == "-":
        at += 1
    name = ""
    if named := NAMED.match(text, at):
        name, at = _known(named[1], at), named.end()
    operator = ""
    if name and kind(name).compares and (compared := OPERATOR.match(text, at)):
        operator, at = compared[0], compared.end()
    value, end = _value(text, at)
    term = Term(name, value, operator, negated, start, end)  # type: ignore[arg-type]
    if fault := _fault(term):
        raise BadQuery(at + 1, fault)
    return term


def _known(name: str, at: int) -> str:
    if name in KINDS and name != ARGS:
        return name
    if name.startswith(ARGS):
        if not PATH.fullmatch(name.removeprefix(ARGS)):
            raise BadQuery(at + 1, "name the payload field, e.g. args.to or args.address.city.")
        return name
    fields = ", ".join(f"{known}…" if known == ARGS else known for known in KINDS)
    remedy = f'The fields are {fields}; to look for "{name}:…" as text, quote it.'
    raise BadQuery(at + 1, f"there is no field {name}. {remedy}")


def _value(text: str, at: int) -> tuple[str, int]:
    if not text.startswith('"', at):
        bare = BARE.match(text, at)
        end = bare.end() if bare else at
        if text.startswith('"', end):
            raise BadQuery(end + 1, 'a quote within a word: quote all of the value, e.g. "a b".')
        return text[at:end], end
    quoted = QUOTED.match(text, at)
    if quoted is None:
        raise BadQuery(at + 1, 'this quote is not closed: add a ".')
    if text[quoted.end() : quoted.end() + 1].strip():
        raise BadQuery(quoted.end() + 1, "a space is missing after the quote.")
    return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL), quoted.end()


def _fault(term: Term) -> str:
    if not term.name:
        return "" if _is_text(term.value) else "write what to look for after it."
    wanted = kind(term.name)
    known = f"{term.name} wants {wanted.finds}, e.g. {wanted.example}."
    if not wanted.takes(term.value) or (term.name == "age" and not term.operator):
        return known
    if term.name.startswith(ARGS) and term.operator and number(term.value) is None:
        return f"only numbers can be compared, e.g. {term.name}:>100."
    if term.value.count("*") > MOST_STARS:
        return f"use at most {MOST_STARS} * in one value."
    return ""


# --- writing ----------------------------------------------------------------------------------


def printed(terms: Iterable[Term]) -> str:
    """Return the text that reads as these terms."""
    return " ".join(map(str, terms))


def without(terms: Sequence[Term], name: str) -> list[Term]:
    """Return the terms that do not ask for `name` to be something."""
    return [term for term in terms if term.name != name or term.negated]


def word_at(text: str, at: int) -> tuple[int, int]:
    """Return where the word begins and ends that a cursor stands in or behind."""
    for word in WORD.finditer(text):
        if word.start() <= at <= word.end():
            return word.start(), word.end()
    return at, at
