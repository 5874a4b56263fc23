"""Redis loses everything, or is away: jobs are late at worst. Each test has a Redis of its own."""

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import ObjectId
from django.conf import settings
from redis.exceptions import RedisError

from jobs import clients, lanes, services
from jobs.claims import Hint
from jobs.clients import collection
from taskqueue import embedded
from tests.system.conftest import fill


class OwnRedis:
    """A Redis on one port, without persistence: back from a stop it is empty."""

    def __init__(self) -> None:
        self.port = embedded.free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        binary = str(embedded.find_binary("redis-server"))
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def answers() -> bool:
    try:
        return bool(clients.redis().ping())
    except RedisError:
        return False


@pytest.fixture
def own_redis(environment: dict[str, str], until: Callable[..., Any]) -> Iterator[OwnRedis]:
    redis = OwnRedis()
    previous = settings.REDIS_URL
    settings.REDIS_URL = environment["REDIS_URL"] = redis.url
    lanes._breaker.closed_at = float("-inf")
    until(answers)
    yield redis
    redis.stop()
    settings.REDIS_URL = previous


def test_after_flushall_with_5000_pending_all_complete_and_none_twice(own_redis, tree, all_in):
    fill(5000)
    clients.redis().flushall()
    tree()
    all_in("completed", seconds=90)
    jobs = list(collection("jobs").find({}, {"attempts": 1, "attempt": 1, "claim": 1}))
    assert len(jobs) == 5000
    assert all(len(job["attempts"]) == job["attempt"] == job["claim"] == 1 for job in jobs)


def test_flushall_while_workers_run_loses_nothing_either(own_redis, tree, until, all_in):
    fill(3000, type="sleep", payload={"seconds": 0.001})
    tree()
    until(lambda: collection("jobs").count_documents({"status": "completed"}) > 300)
    clients.redis().flushall()
    all_in("completed", seconds=90)
    assert collection("jobs").count_documents({"attempt": 1}) == 3000


def test_jobs_submitted_while_redis_is_down_are_accepted_and_complete_once_it_is_back(
    own_redis, tree, all_in
):
    tree("--processes", "1")
    fill(1)
    all_in("completed")
    own_redis.stop()
    ids = [services.enqueue("noop", {}) for _ in range(100)]
    assert collection("jobs").count_documents({"status": "pending"}) == len(ids)
    own_redis.start()
    all_in("completed")
    assert collection("jobs").count_documents({"attempt": 1}) == 101


@pytest.mark.parametrize("push", [lanes.push, lanes.push_at_head])
def test_a_redis_that_is_nearly_full_takes_as_many_ids_as_fit(own_redis, push):
    lane = lanes.in_order(["default"])[0]
    hints = [Hint(ObjectId(), lane) for _ in range(10_000)]
    redis = clients.redis()
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] + 100_000)
    assert not push(hints)
    assert 0 < redis.llen(lanes.key(lane)) < len(hints)


@pytest.mark.parametrize("jobs", [1, lanes.PUSH_IDS + 1])
def test_after_a_demotion_the_next_push_connects_anew_to_whoever_has_the_address(own_redis, jobs):
    # A demoted master keeps its connections: they would lead to a replica for ever.
    lane = lanes.in_order(["default"])[0]
    hints = [Hint(ObjectId(), lane) for _ in range(jobs)]
    redis = clients.redis()
    before = redis.client_id()
    redis.replicaof("127.0.0.1", embedded.free_port())
    assert not lanes.push(hints)
    assert redis.client_id() != before
    redis.replicaof("NO", "ONE")
    lanes._breaker.closed_at = float("-inf")
    assert lanes.push(hints)
    assert redis.llen(lanes.key(lane)) == jobs


def test_garbage_in_a_lane_is_thrown_away_and_the_workers_live(own_redis, tree, all_in):
    lane = lanes.in_order(["default"])[0]
    clients.redis().lpush(lanes.key(lane), "garbage", "", "6b0513ad06cadfe5d2ad0ca5", "\x00")
    fill(5, priority="low")
    tree("--processes", "1")
    all_in("completed")
