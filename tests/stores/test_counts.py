"""The counts that all who show them share: in a process, and with the other ones."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobs import clients, counting, counts, outages, services
from jobs.clients import redis
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
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "SHARED_SECONDS", 0.3)
    counted_before = time.monotonic()
    counts.stats()
    fill(1)
    process.be("another")
    assert counts.stats().total == 0
    while counts.stats().total == 0:
        assert time.monotonic() < counted_before + 10
    assert time.monotonic() > counted_before + 0.3


def test_who_forgets_counts_anew_whatever_others_have(process: Process) -> None:
    counts.stats()
    process.be("another")
    before = counts.stats()
    fill(1)
    counts.forget()
    assert counts.stats().total == before.total + 1
    process.be("a third")
    assert counts.stats().total == before.total + 1


def test_older_counts_of_others_are_not_taken(process: Process) -> None:
    old = counts.stats()
    fill(1)
    process.be("another")
    counts.forget()
    new = counts.stats()
    counts._share(old, 60.0)  # of a process that was slow to say it
    counts._latest.until = float("-inf")
    assert counts.stats().total == new.total == old.total + 1


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


@pytest.fixture
def no_redis(stores: str, settings: Any) -> Iterator[None]:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    yield
    clients._shared_redis.cache_clear()
    outages.forget()


@pytest.mark.usefixtures("no_redis")
def test_without_redis_each_process_counts_for_itself(process: Process) -> None:
    fill(2)
    assert counts.stats().total == 2
    process.be("another")
    assert counts.stats().total == 2
