"""The counts that all who show them share: in a process, and with the other ones."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs import counting, counts, services
from jobs.clients import Document, redis
from jobs.registry import Lane
from jobs.requests import Request

pytestmark = pytest.mark.usefixtures("stores")
MAIL = {"to": "a@example.org", "subject": "Hi"}


def fill(jobs: int, **chosen: Any) -> None:
    services.enqueue_many([Request(type="send_email", payload=MAIL, **chosen)] * jobs)


class Process:
    """Lets a test go on as one process or another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.known: dict[str, Any] = {}

    def be(self, name: str) -> None:
        latest = self.known.setdefault(name, counts._Latest())
        self.monkeypatch.setattr(counts, "_latest", latest)

    def count_no_more(self) -> None:
        def fail() -> None:
            raise AssertionError("MongoDB was asked")

        self.monkeypatch.setattr(counting, "totals", fail)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    monkeypatch.setattr(counts, "SHARED_SECONDS", 60.0)
    process = Process(monkeypatch)
    process.be("one")
    return process


def test_counts_are_shared_within_a_process(process: Process) -> None:
    before = counts.stats()
    fill(1)
    assert counts.stats() is before
    counts.forget()
    assert counts.stats().total == before.total + 1


def test_another_process_shows_them_without_asking_mongodb(process: Process) -> None:
    fill(3, priority="low")
    fill(1, queue="mail", priority="medium")
    counted = counts.stats()
    process.count_no_more()
    process.be("another")
    shown = counts.stats()
    assert shown is not counted
    assert shown == replace(counted, at=shown.at)
    assert timedelta(0) <= counted.at - shown.at < timedelta(milliseconds=1)
    (mail,) = [depth for depth in shown.lanes if depth.lane == Lane("mail", "medium")]
    assert mail.depth == 1
    assert mail.oldest
    assert mail.oldest_id


def test_they_are_as_old_elsewhere_as_where_they_were_counted(
    process: Process, until: Callable[..., Any]
) -> None:
    old = counts.stats()
    fill(1)
    counts._share(old, 0.3)
    process.be("another")
    assert counts.stats().total == 0
    until(lambda: counts.stats().total == 1, 30)  # not in a minute, as is usual here


def test_who_forgets_counts_anew_whatever_others_have(process: Process) -> None:
    counts.stats()
    process.be("another")
    before = counts.stats()
    fill(1)
    counts.forget()
    assert counts.stats().total == before.total + 1
    process.be("a third")
    assert counts.stats().total == before.total + 1


def test_older_counts_of_others_are_not_taken(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = counting.totals

    def slow() -> counting.Totals:
        """Count, while another process counts what somebody has done since."""
        found = totals()
        monkeypatch.setattr(counting, "totals", totals)
        fill(1)
        process.be("another")
        counts.forget()
        counts.stats()
        process.be("one")
        return found

    monkeypatch.setattr(counting, "totals", slow)
    assert counts.stats().total == 0
    process.be("another")
    counts._latest.until = float("-inf")
    assert counts.stats().total == 1


def test_what_is_forgotten_while_it_is_counted_is_neither_kept_nor_shared(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = counting.totals

    def overtaken() -> counting.Totals:
        found = totals()
        counts.forget()
        return found

    monkeypatch.setattr(counting, "totals", overtaken)
    counts.stats()
    monkeypatch.setattr(counting, "totals", totals)
    fill(1)
    assert redis().get(counts._key()) is None
    assert counts.stats().total == 1


def test_what_is_forgotten_while_it_is_read_is_not_taken(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts.stats()
    fill(1)
    process.be("another")
    read = counts._read

    def overtaken(said: Document) -> counts.Stats:
        counts.forget()
        return read(said)

    monkeypatch.setattr(counts, "_read", overtaken)
    counts.stats()
    monkeypatch.setattr(counts, "_read", read)
    assert counts.stats().total == 1


def test_while_one_counts_the_others_show_what_they_have(process: Process) -> None:
    before = counts.stats()
    redis().delete(counts._key())
    counts._latest.until = time.monotonic()
    assert counts._begin()  # another process does
    assert counts.stats() is before
    fill(1)
    counts._latest.until -= counts.COUNT_SECONDS  # it died, or takes too long
    assert counts.stats().total == before.total + 1
    assert counts._begin()  # whoever has counted says so


@pytest.mark.parametrize("said", ["?", "AAAA", "BQAAAAA=", "DAAAABB4AAEAAAAA"])
def test_what_is_not_to_be_read_is_passed_by(process: Process, said: str) -> None:
    fill(1)
    redis().set(counts._key(), said, px=60_000)
    assert counts.stats().total == 1


def test_counts_of_a_version_with_other_states_are_passed_by(process: Process) -> None:
    before = counts.stats()
    counts._share(replace(before, by_status={"pending": 3}, total=3), 60.0)
    process.be("another")
    assert counts.stats().total == 0


@pytest.mark.usefixtures("no_redis")
def test_without_redis_each_process_counts_for_itself(process: Process) -> None:
    fill(2)
    assert counts.stats().total == 2
    process.be("another")
    assert counts.stats().total == 2
