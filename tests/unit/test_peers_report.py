"""The table of `make peers`: what its cells and notes say."""

from pathlib import Path
from typing import Any

import pytest

from tests.system.peers import report
from tests.system.peers.lab import last_of
from tests.system.peers.ledger import Ledger
from tests.system.peers.run import parse

ROW = {
    "row": "12",
    "peer": "rq",
    "accepted": 300,
    "lost": 0,
    "failed": 0,
    "late": 0,
    "twice": 3,
    "seconds_all": 12.4,
}


def results(*rows: dict[str, Any]) -> dict[str, Any]:
    peer = {"name": "rq", "label": "RQ", "configuration": "`Retry`", "why": "Why.", "patience": 90}
    other = {**peer, "name": "celery", "label": "Celery"}
    return {
        "versions": {"rq": "RQ 3.0.0", "celery": "Celery 5.7.0"},
        "configurations": [peer, other],
        "titles": {"1": "a child killed", "12": "Redis killed"},
        "rows": list(rows),
    }


@pytest.mark.parametrize(
    ("change", "cell"),
    [
        ({}, "300 / 0 lost / 3 twice / 12 s"),
        ({"seconds_all": 3.21}, "300 / 0 lost / 3 twice / 3.2 s"),
        ({"lost": 9, "seconds_all": None}, "300 / 9 lost / 3 twice / -"),
        ({"lost": 9, "failed": 2}, "300 / 9 lost (2 as failed) / 3 twice / 12 s"),
        ({"late": 4, "seconds_all": None}, "300 / 0 lost / 4 late / 3 twice / -"),
        ({"accepted": None}, "the harness failed"),
    ],
)
def test_a_cell_tells_accepted_lost_twice_and_seconds(change, cell):
    assert report.cell({**ROW, **change}) == cell


def test_the_table_has_rows_by_queues_and_leaves_out_what_was_not_run():
    text = report.render(results(ROW))
    assert "| # | Fault | RQ | Celery |" in text
    assert "| 12 | Redis killed | 300 / 0 lost / 3 twice / 12 s | not run |" in text
    assert "a child killed" not in text


def test_each_configuration_is_named_with_its_version_and_its_reason():
    assert "- **RQ** (RQ 3.0.0): `Retry`. Why. Limit 90 s." in report.render(results(ROW))


def test_a_rehearsal_is_called_one():
    assert report.render({**results(ROW), "quick": True}).startswith("**A rehearsal")
    assert "rehearsal" not in report.render({**results(ROW), "quick": False})


def test_a_note_says_what_the_figures_do_not():
    row = {**ROW, "note": "1 restarts", "refused": 2, "unasked": 1, "started_twice": 5}
    row["seconds_first"] = 0.53
    assert report.note(row) == (
        "1 restarts; 2 enqueue calls raised, 1 of those jobs ran all the same; "
        "5 jobs started more than once; first end after 0.5 s"
    )


def test_recovery_is_counted_from_the_fault_and_only_when_all_ended():
    ends = {1: [3.0, 9.0], 2: [7.5]}
    assert last_of(4.0, {1, 2}, ends) == 3.5
    assert last_of(4.0, {1, 2, 3}, ends) is None


def test_a_ledger_is_read_whole_line_by_whole_line(tmp_path: Path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    line = '{{"job": {job}, "event": "{event}", "pid": 7, "at": {at}}}\n'.format
    half = line(job=1, event="end", at=2.0)
    ledger.path.write_text(line(job=1, event="start", at=1.0) + half[:9])
    assert [entry.event for entry in ledger.read()] == ["start"]
    assert [entry.job for entry in ledger.open()] == [1]
    with ledger.path.open("a") as file:
        file.write(half[9:])
    ledger.read()
    assert (ledger.open(), ledger.ended()) == ([], {1})
    assert (ledger.first_end(0.5), ledger.first_end(1.5)) == (2.0, None)


def test_rows_and_queues_are_chosen_by_name_and_15_is_both_of_its_variants():
    options = parse(["--rows", "15,1", "--peers", "rq"])
    assert (options.rows, options.peers) == (["1", "15w", "15e"], ["rq"])
    assert len(parse(["--peers", ""]).peers) == 6
    with pytest.raises(SystemExit):
        parse(["--rows", "99"])
