"""The document on reliability: nothing in it that was not counted, no row forgotten."""

import json
import re
from pathlib import Path

from tests.system.faults import report

FAULTS = Path(report.__file__).parent


def run(number=1, seed=1, result="passed", control=False, **figures):
    return {
        "number": number,
        "fault": "a | fault",
        "injected": "a kill",
        "invariants": "L",
        "quick": False,
        "test": f"test_{number}{'_control' if control else ''}",
        "control": control,
        "seed": seed,
        "result": result,
        "reason": "",
        "seconds": 4.2,
        "figures": {"jobs": 10, "executions": 12, "twice": 1, "refused": 1, **figures},
    }


def test_every_row_of_the_matrix_has_a_test() -> None:
    code = "".join(path.read_text() for path in FAULTS.glob("test_*.py"))
    rows = {int(number) for number in re.findall(r"@row\(\s*(\d+),", code)}
    assert rows == set(report.ROWS)


def test_a_row_adds_up_its_seeds() -> None:
    text = report.render([run(seed=1), run(seed=2, first=0.5)], None, "")
    assert "| 1 | a \\| fault | a kill | L | held 2/2 | 20 | 24 | 2 | 2 | 4 |" in text
    assert "- 1, a | fault: first: -, 0.5" in text
    assert "2 of 2 runs passed, with 20 jobs" in text


def test_a_failed_run_and_a_row_that_did_not_run_are_said() -> None:
    text = report.render([run(seed=1), run(seed=2, result="failed")], None, "")
    assert "**1/2**" in text
    assert "1 of 2 runs passed" in text
    assert "Not run: 2, 3, 4" in text


def test_a_control_is_not_counted_among_the_rows() -> None:
    text = report.render([run(), run(control=True)], None, "")
    assert "1 of 1 runs passed" in text
    assert "1 of 1 controls were noticed" in text
    assert "| 1 control |" in text


def test_the_last_run_of_a_row_and_seed_counts(tmp_path: Path) -> None:
    lines = tmp_path / "rows.jsonl"
    lines.write_text("\n".join(map(json.dumps, [run(result="failed"), run()])))
    runs = report.latest(lines)
    assert [each["result"] for each in runs] == ["passed"]
    assert "1 of these runs had failed before and were repeated" in report.render(runs, None, "")


def test_the_soak_says_what_was_done_to_it() -> None:
    soak = {
        "seed": 7,
        "jobs": 1000,
        "minutes": 2.5,
        "faults": {"FLUSHALL": 2, "worker killed": 1},
        "lost": 0,
        "executions": 1003,
        "twice": {"of a process that was killed or paused": 3},
        "refused": 4,
        "errors": 5,
    }
    text = report.render([], soak, "")
    assert "1,000 jobs were accepted and ended in 2.5 minutes, seed 7, under 3 faults" in text
    assert "3 of a process that was killed or paused" in text
