"""What may stand where a person is typing a query."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from jobs import mongodb, registry, selectors
from jobs.clients import Document, collection
from jobs.query import ARGS, KINDS, STATES, Term, word_at
from jobs.registry import PRIORITIES

SUGGESTED = 10
LOOKED_AT = 2_000  # the newest jobs, whose tags are known
SECONDS = 2.0


@dataclass(frozen=True)
class Suggestion:
    """A word for the place of the cursor. `text`: the query with it; `at`: the place behind it."""

    word: str
    finds: str
    text: str
    at: int


def suggest(text: str, at: int) -> list[Suggestion]:
    """Return what may stand at a place of a query: fields, then the values of one."""
    start, end = word_at(text, at)
    word = text[start:end]
    minus = "-" if word.startswith("-") else ""
    return [
        _put(text, start, end, minus + found, finds)
        for found, finds in islice(_words(word.removeprefix(minus)), SUGGESTED)
    ]


def _put(text: str, start: int, end: int, word: str, finds: str) -> Suggestion:
    unfinished = word.endswith((":", ".", ":>", "..")) or text[end : end + 1] == " "
    put = word if unfinished else f"{word} "
    return Suggestion(word, finds, text[:start] + put + text[end:], start + len(put))


def _words(word: str) -> Iterator[tuple[str, str]]:
    name, colon, typed = word.partition(":")
    if colon:
        values = VALUES[name]() if name in VALUES else ()
        for value in _beginning(values, typed.strip('"')):
            yield str(Term(name, value)), ""
        return
    for field, kind in KINDS.items():
        if field != ARGS and field.startswith(word):
            yield f"{field}:{'>' if field == 'age' else ''}", f"{kind.finds}: {kind.example}"
    paths = sorted({f"{ARGS}{field}:" for known in registry.all_types() for field in known.fields})
    for path in paths:
        if path.startswith(word):
            yield path, f"{KINDS[ARGS].finds}: {KINDS[ARGS].example}"
    if word:
        yield from ((f"type:{name}", "") for name in _beginning(_types(), word))


def _beginning(values: Iterable[str], typed: str) -> list[str]:
    return [value for value in values if value.lower().startswith(typed.lower())]


def _types() -> list[str]:
    return [known.name for known in registry.all_types()]


def _queues() -> list[str]:
    return [queue.name for queue in selectors.queues()]


def _workers() -> list[str]:
    return sorted({str(view.worker) for view in selectors.workers(ended=False)})


def _tags() -> list[str]:
    """Return the tags of the newest jobs, the most frequent first."""
    tags: list[Document] = [
        {"$sort": {"_id": -1}},
        {"$limit": LOOKED_AT},
        {"$unwind": "$tags"},
        {"$sortByCount": "$tags"},
        {"$limit": 1_000},
    ]
    with mongodb.within(SECONDS):
        return [row["_id"] for row in collection("jobs").aggregate(tags, hint="_id_")]


VALUES: dict[str, Callable[[], Iterable[str]]] = {
    "state": lambda: STATES,
    "priority": lambda: PRIORITIES,
    "type": _types,
    "queue": _queues,
    "worker": _workers,
    "tag": _tags,
}
