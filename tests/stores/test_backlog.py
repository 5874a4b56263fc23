"""How far behind each queue is, who serves it, and what the last hour brought."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import AutoReconnect
from pytest_django.fixtures import Settings

from jobs import backlog, counting, counts, mongodb, samples, series, services
from jobs.backlog import Drain
from jobs.clients import Document, collection
from jobs.errors import NotFound, StoreDown
from jobs.registry import Lane
from jobs.tallies import Changes, minute_of
from tests.web.actors import MAIL, dead

pytestmark = pytest.mark.usefixtures("stores")
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def submit(**chosen: Any) -> str:
    counts.forget()
    return services.enqueue("send_email", MAIL, **chosen)


def date_back(seconds: float, **which: str) -> None:
    earlier = mongodb.now() - timedelta(seconds=seconds)
    collection("jobs").update_many(which, {"$set": {"enqueued_at": earlier}})


def worker(queues: Sequence[str], *, host: str = "a", slots: int = 2) -> ObjectId:
    facts = {"host": host, "pid": 1, "concurrency": slots, "version": "1"}
    services.register_worker(id := ObjectId(), queues, supervisor=ObjectId(), **facts)
    return id


def lose(worker: ObjectId) -> None:
    long_ago = mongodb.now() - timedelta(hours=1)
    collection("workers").update_one({"_id": worker}, {"$set": {"heartbeat_at": long_ago}})


def running(worker: ObjectId, count: int) -> None:
    held = {"status": "running", "worker": worker, "queue": "default", "priority": "low"}
    collection("jobs").insert_many([{**held, "_id": ObjectId()} for _ in range(count)])


def happened(minutes_ago: int, queue: str, **ends: Any) -> None:
    now = mongodb.now()
    changes, at = Changes(), now - timedelta(minutes=minutes_ago)
    changes.accepted(queue, "send_email", at, jobs=10)
    changes.ended(queue, "send_email", **{"outcome": "completed", "at": at, "ran": 100.0, **ends})
    for name, more in changes.additions(now, 0):
        collection("tallies").update_one(name, {"$inc": more}, upsert=True)


# --- against the target -----------------------------------------------------------------------


def test_a_lane_is_late_when_its_oldest_has_waited_longer_than_its_target(
    settings: Settings,
) -> None:
    settings.QUEUE_TARGETS = {"mail": {"": 300.0, "high": 5.0}}
    for priority in ("high", "low"):
        submit(queue="mail", priority=priority)
    submit()
    date_back(30, queue="mail")
    lanes = {lane.lane: lane for lane in backlog.lanes(counts.stats())}
    assert {lane: found.target for lane, found in lanes.items()} == {
        Lane("default", "high"): 60.0,
        Lane("default", "medium"): 60.0,
        Lane("default", "low"): 60.0,
        Lane("mail", "high"): 5.0,
        Lane("mail", "medium"): 300.0,
        Lane("mail", "low"): 300.0,
    }
    assert [lane for lane, found in lanes.items() if found.late] == [Lane("mail", "high")]
    assert (lanes[Lane("mail", "high")].percent, lanes[Lane("mail", "low")].percent) == (100, 10)


def test_a_paused_queue_is_not_late() -> None:
    submit()
    date_back(300)
    services.pause("default", actor="ada")
    counts.forget()
    assert not any(lane.late for lane in backlog.lanes(counts.stats()))


def test_the_oldest_of_every_lane_is_read_in_one_question() -> None:
    ids = {
        Lane(queue, priority): submit(queue=queue, priority=priority)
        for queue in ("a", "b", "c.d")
        for priority in ("high", "low")
    }
    for lane in ids:
        submit(queue=lane.queue, priority=lane.priority)
    found = {lane.lane: str(lane.oldest_id) for lane in counts.stats().lanes if lane.oldest}
    assert found == ids


# --- when it will be empty --------------------------------------------------------------------


def past(*pending: int) -> list[tuple[datetime, int]]:
    """Samples a minute apart, the last of them a minute ago."""
    return [(NOON - timedelta(minutes=len(pending) - n), jobs) for n, jobs in enumerate(pending)]


def test_a_queue_drains_as_it_does_since_its_peak() -> None:
    assert backlog.drain(past(0, 0, 900, 800), NOON, 700) == Drain(420.0, 100.0, 2.0)


def test_a_queue_that_grows_has_no_end() -> None:
    assert backlog.drain(past(10, 20, 30), NOON, 40) == Drain(None, 0.0, 1.0)


def test_there_is_no_estimate_of_nothing_nor_from_nothing() -> None:
    assert backlog.drain(past(5, 3), NOON, 0) is None
    assert backlog.drain([], NOON, 5) is None


# --- a queue ----------------------------------------------------------------------------------


def test_a_queue_has_its_states_its_rates_and_the_workers_that_serve_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = mongodb.now()
    monkeypatch.setattr(mongodb.clock, "now", lambda: now)  # no minute ends meanwhile
    dead(queue="mail")
    submit(queue="mail")
    submit()
    for ago in (1, 2, 30):
        happened(ago, "mail")
    worker(["mail", "default"], host="a")
    worker(["default"], host="b")
    counts.forget()
    found = backlog.queue("mail")
    assert (found.by_status["pending"], found.by_status["dead"]) == (1, 1)
    assert (found.accepted, found.ended) == (4.0, 0.4)
    assert [host.name for host in found.hosts] == ["a"]
    assert (found.waiting, found.live, found.unserved) == (1, 1, False)


def test_jobs_without_a_worker_for_their_queue_are_said_to_be() -> None:
    submit(queue="mail")
    worker(["default"])
    counts.forget()
    unserved = [each.queue.name for each in backlog.read().queues if each.unserved]
    assert unserved == ["mail"]


def test_of_a_host_only_the_workers_that_serve_the_queue_count() -> None:
    submit(queue="mail")
    worker(["mail"], slots=1)
    for _ in range(3):
        running(worker(["default"], slots=1), 2)
    counts.forget()
    (host,) = backlog.queue("mail").hosts
    assert (host.name, host.live, host.slots, host.busy) == ("a", 1, 1, 0)
    (host,) = backlog.queue("default").hosts
    assert (host.name, host.live, host.slots, host.busy) == ("a", 3, 3, 3)
    (host,) = backlog.read().hosts
    assert (host.name, host.live, host.slots, host.busy) == ("a", 4, 4, 3)


def test_a_lost_worker_serves_nothing() -> None:
    submit(queue="mail")
    lose(worker(["mail"]))
    counts.forget()
    found = backlog.queue("mail")
    assert (found.hosts, found.live, found.unserved) == ([], 0, True)


def test_a_quiet_worker_is_live_and_serves_nothing_until_it_resumes() -> None:
    submit(queue="mail")
    one, other = worker(["mail"]), worker(["mail"], host="b")
    services.heartbeat([one], [{"quiet": True}])
    counts.forget()
    found = backlog.queue("mail")
    assert (found.live, found.quiet, found.unserved) == (2, 1, False)
    assert [(host.name, host.live, host.quiet) for host in found.hosts] == [
        ("a", 1, 1),
        ("b", 1, 0),
    ]
    services.heartbeat([other], [{"quiet": True}])
    found = backlog.queue("mail")
    assert (found.live, found.quiet, found.unserved) == (2, 2, True)
    services.heartbeat([one], [{"quiet": False}])
    assert not backlog.queue("mail").unserved


def test_a_quiet_worker_that_is_lost_is_only_lost() -> None:
    submit(queue="mail")
    services.heartbeat([lost := worker(["mail"])], [{"quiet": True}])
    worker(["mail"])
    lose(lost)
    counts.forget()
    (host,) = backlog.read().hosts
    assert (host.live, host.quiet, host.lost) == (1, 0, 1)
    assert not backlog.queue("mail").unserved


def test_an_unknown_queue() -> None:
    with pytest.raises(NotFound):
        backlog.queue("nope")


def test_hosts_say_who_lives_and_how_many_slots_are_busy() -> None:
    first, lost = worker(["default"], host="a"), worker(["default"], host="a")
    worker(["mail"], host="a")
    worker(["default"], host="b", slots=4)
    lose(lost)
    running(first, 3)  # one of them waits for a slot of its own worker
    counts.forget()
    a, b = backlog.read().hosts
    assert (a.name, a.live, a.lost, a.slots, a.busy) == ("a", 2, 1, 4, 2)
    assert (b.name, b.live, b.slots, b.busy) == ("b", 1, 4, 0)


# --- the last hour ----------------------------------------------------------------------------


def test_the_hour_has_sixty_whole_minutes_and_not_the_current_one() -> None:
    happened(0, "mail")
    happened(1, "mail")
    happened(60, "mail", outcome="failed")
    minutes = series.hour("mail")
    assert len(minutes) == 60
    assert [minute.at for minute in minutes] == sorted(minute.at for minute in minutes)
    assert (minutes[0].outcomes["failed"], minutes[-1].outcomes["completed"]) == (1, 1)
    assert sum(sum(minute.outcomes.values()) for minute in minutes) == 2
    assert sum(minute.accepted for minute in series.hour("default")) == 0


def test_only_the_newest_minutes_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    happened(2, "mail")
    happened(30, "mail")
    series.hour()
    asked = []
    read = counting.minutes

    def minutes(since: datetime, **which: str) -> Any:
        asked.append(since)
        return read(since, **which)

    monkeypatch.setattr(counting, "minutes", minutes)
    happened(2, "mail")
    again = series.hour()
    assert sum(sum(minute.outcomes.values()) for minute in again) == 3
    assert mongodb.now() - asked[0] < timedelta(minutes=series.SETTLED + 1)


def test_what_failed_most_is_counted_by_type_and_exception_whatever_became_of_it() -> None:
    for ago in (1, 5, 59):
        happened(ago, "mail", outcome="failed", error_type="ConnectionError")
    happened(2, "default", outcome="timed_out", error_type="TimeoutError")
    happened(70, "mail", outcome="failed", error_type="KeyError")
    assert [vars(error) for error in series.hour_and_errors()[1]] == [
        {"type": "send_email", "error_type": "ConnectionError", "count": 3},
        {"type": "send_email", "error_type": "TimeoutError", "count": 1},
    ]


def test_an_end_counts_its_error_when_it_is_recorded() -> None:
    dead()
    happened: dict[str, int] = {}
    for _, found in counting.minutes(mongodb.now() - timedelta(minutes=2), queue="", type=""):
        happened |= {name: n for name, n in found.items() if name.startswith("errors.")}
    assert happened == {"errors.send_email:ValueError": 1}


# --- samples ----------------------------------------------------------------------------------


AGES = {"report": {"seconds": 0.0, "failing": False}}


def report(sample: Document | None, steward: ObjectId | None = None) -> None:
    services.report_steward(
        steward or ObjectId(), AGES, sample=sample, host="a", pid=1, leading=bool(sample)
    )


def test_a_sample_says_how_many_jobs_there_are() -> None:
    submit(queue="a.b")
    report(services.sample(None))
    (sample,) = series.recent_samples()
    assert sample.pending == {"a.b": 1}
    assert (sample.by_status["pending"], sample.by_status["dead"]) == (1, 0)


def test_a_clock_that_cannot_be_read_is_a_store_that_is_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone() -> datetime:
        raise AutoReconnect("gone")

    monkeypatch.setattr(mongodb.clock, "now", gone)
    with pytest.raises(StoreDown):
        services.sample(None)


def test_none_is_taken_twice_in_a_minute() -> None:
    now = mongodb.now()
    again = services.sample(now)
    assert again is None or minute_of(again["at"]) > minute_of(now)


def test_a_minute_has_one_sample_though_another_steward_has_taken_over() -> None:
    sample = services.sample(None)
    report(sample)
    report(sample)
    assert len(series.recent_samples()) == 1


def test_a_report_keeps_the_samples_of_the_last_minutes_and_no_more() -> None:
    steward, taken = ObjectId(), services.sample(None)
    assert taken
    for ago in range(2 * samples.KEPT, -1, -1):
        report({**taken, "at": taken["at"] - timedelta(minutes=ago)}, steward)
        report(None, steward)  # as most reports are
    kept = collection("stewards").find_one({"_id": steward})
    assert kept
    assert len(kept["samples"]) == samples.KEPT
    found = [sample.at for sample in series.recent_samples()]
    ages = [round((taken["at"] - at) / timedelta(minutes=1)) for at in found]
    assert ages in ([*range(15, -1, -1)], [*range(14, -1, -1)])  # a minute may have ended since
