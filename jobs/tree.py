"""A JSON value as a tree of lines, for a page: bounded, whatever is in it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MOST = 300  # values shown; the raw JSON has them all
TEXT = 500  # characters of one text
OPEN = 60  # a tree of so many values begins open
SHORT = 10


@dataclass
class Node:
    """One value. `text` is its JSON, cut; `more`: so many of its own values are not shown."""

    name: str
    kind: str  # object, array, text, number, word (true, false, null) or masked
    text: str = ""
    size: int = 0  # of an object or array: how many values it has
    children: list["Node"] = field(default_factory=list)
    more: int = 0
    opened: bool = False


def tree(value: Any, mask: str) -> Node:
    """Return a JSON value as a tree; a text that is `mask` is shown as such."""
    room = iter(range(MOST))
    root = _node("", value, mask, room)
    shown = MOST - sum(1 for _ in room)
    for child in root.children:
        _open(child, all_of_it=shown <= OPEN)
    return root


def _open(node: Node, *, all_of_it: bool) -> None:
    """Open a small tree as a whole, of a large one only what is short at its top."""
    node.opened = all_of_it or len(node.children) <= SHORT
    for child in node.children if all_of_it else ():
        _open(child, all_of_it=True)


def _node(name: str, value: Any, mask: str, room: Iterator[int]) -> Node:
    if isinstance(value, dict | list):
        return _inner(name, value, mask, room)
    if value == mask:
        return Node(name, "masked", mask)
    text = json.dumps(value, ensure_ascii=False, default=str)
    kind = "text" if isinstance(value, str) else "number"
    kind = "word" if value is None or isinstance(value, bool) else kind
    return Node(name, kind, text if len(text) <= TEXT else f"{text[:TEXT]}…")


def _inner(name: str, value: Any, mask: str, room: Iterator[int]) -> Node:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    node = Node(name, "object" if isinstance(value, dict) else "array", size=len(value))
    for inner, each in pairs:
        if next(room, None) is None:
            node.more = node.size - len(node.children)
            break
        node.children.append(_node(str(inner), each, mask, room))
    return node
