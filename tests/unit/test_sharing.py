"""Callers that share a write."""

from typing import Any

from jobs.sharing import Shared


class _Interrupted(list[Any]):
    """A list to which somebody adds while another takes from it."""

    def __init__(self, late: Any) -> None:
        super().__init__()
        self.late = [late]

    def __getitem__(self, key: Any) -> Any:
        taken = super().__getitem__(key)
        if self.late:
            self.append(self.late.pop())
        return taken


def test_who_comes_while_a_group_is_taken_goes_with_the_next() -> None:
    written: list[list[str]] = []
    shared = Shared(written.append, most=10)
    place = type("Place", (), {"item": "late", "written": False, "error": None})()
    shared._waiting = _Interrupted(place)
    shared.add("first")
    shared.add("second")
    assert written == [["first"], ["late", "second"]]
    assert place.written
