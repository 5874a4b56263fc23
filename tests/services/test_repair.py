from datetime import timedelta

import pytest

from jobs import clients, lanes, mongodb, repository, services
from jobs.claims import Hint
from jobs.clients import collection
from jobs.registry import Lane
from jobs.requests import Request

MEDIUM = Lane("default", "medium")


@pytest.fixture(autouse=True)
def _no_grace(monkeypatch):
    monkeypatch.setattr(services, "REPAIR_GRACE", timedelta(0))


def fill(count):
    """Jobs with distinct places in line."""
    ids = services.enqueue_many([Request(type="echo", payload={})] * count)
    start = mongodb.now() - timedelta(hours=1)
    for place, id in enumerate(ids):
        at = {"enqueued_at": start + timedelta(seconds=place)}
        collection("jobs").update_one({"_id": services.ObjectId(id)}, {"$set": at})
    return ids


def lane():
    return clients.redis().lrange(lanes.key(MEDIUM), 0, -1)[::-1]


def repaired(**options):
    return services.repair("default", **options)[MEDIUM]


def test_an_emptied_lane_is_filled_again_oldest_first():
    ids = fill(20)
    clients.redis().delete(lanes.key(MEDIUM))
    assert repaired() == 20
    assert lane() == ids
    assert repaired() == 0


def test_lost_ids_go_to_the_head_and_what_is_there_stays():
    ids = fill(10)
    for id in ids[:4]:
        clients.redis().lrem(lanes.key(MEDIUM), 0, id)
    assert repaired() == 4
    assert lane() == ids


def test_a_whole_lane_needs_nothing():
    fill(5)
    assert repaired() == 0


def test_it_pushes_in_bounded_batches(monkeypatch):
    monkeypatch.setattr(services, "REPAIR_BATCH", 7)
    ids = fill(20)
    clients.redis().delete(lanes.key(MEDIUM))
    assert repaired() == 7
    assert lane() == ids[:7]


def test_stale_hints_at_the_head_hide_nothing():
    ids = fill(3)
    clients.redis().delete(lanes.key(MEDIUM))
    lanes.push([Hint(services.ObjectId(), MEDIUM)] * 60)
    assert repaired() == 3
    assert lane()[:3] == ids


def test_a_head_that_workers_take_faster_than_it_is_read_is_not_taken_for_a_loss(monkeypatch):
    """They claim what was read as the head before MongoDB is asked about it."""
    ids = fill(200)
    taken = ids[:100]

    def claimed_meanwhile(read):
        if not read:  # the other lanes
            return []
        clients.redis().rpop(lanes.key(MEDIUM), len(taken))
        found = {"_id": {"$in": [services.ObjectId(id) for id in taken]}}
        collection("jobs").update_many(found, {"$set": {"status": "running"}})
        return pending_among(read)

    pending_among = repository.pending_among
    monkeypatch.setattr(repository, "pending_among", claimed_meanwhile)
    assert repaired() == 0
    assert lane() == ids[100:]


def test_ids_between_fetch_and_claim_are_not_taken_for_a_loss(monkeypatch):
    monkeypatch.setattr(services, "REPAIR_GRACE", timedelta(seconds=60))
    ids = fill(20)
    clients.redis().rpop(lanes.key(MEDIUM), 10)
    assert repaired() == 0
    assert lane() == ids[10:]


def test_a_dry_run_counts_and_changes_nothing():
    fill(3)
    clients.redis().delete(lanes.key(MEDIUM))
    assert repaired(dry_run=True) == 3
    assert lane() == []


def test_a_job_that_was_accepted_a_moment_ago_is_left_to_its_own_push(monkeypatch):
    monkeypatch.setattr(services, "REPAIR_GRACE", timedelta(seconds=60))
    services.enqueue("echo", {})
    clients.redis().delete(lanes.key(MEDIUM))
    assert repaired() == 0
