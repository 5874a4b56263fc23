"""docs/api.md, as far as it can be compared with the code without running it."""

import re
from pathlib import Path

from jobs import problems
from jobs.errors import QueueError

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()


def _kinds(kind: type[QueueError]) -> list[type[QueueError]]:
    return [kind, *(each for one in kind.__subclasses__() for each in _kinds(one))]


def test_the_table_has_every_code_that_the_code_has() -> None:
    listed = {(int(status), code) for status, code in re.findall(r"\| (\d{3}) \| `(\w+)` \|", PAGE)}
    raised = {(status, kind.code) for kind, status in problems.STATUSES.items()}
    source = Path(problems.__file__).read_text()
    named = set(re.findall(r'Problem\((\d{3}), [^)\n]*, "(\w+)"', source))
    assert named == {("503", "too_slow")}, "say here what else is named"
    others = {(503, "too_slow"), (400, "malformed")}
    assert listed == {*problems.CODES.items(), *raised, *others}


def test_every_error_that_is_expected_has_a_status() -> None:
    answered_by_other_means = {"store_down", "too_slow", "unauthenticated"}
    without = {QueueError.code, *answered_by_other_means}
    codes = {kind.code for kind in _kinds(QueueError)} - without
    assert codes == {kind.code for kind in problems.STATUSES}
