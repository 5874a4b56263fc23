"""Workers, an operator, a steward and whoever enqueues, in random order, on the real stores.

After each step MongoDB must hold exactly what `model` says; at the end nothing may be lost.
CHAOS_EXAMPLES=1000 runs longer. A failure prints the steps and a line to run it again:
put `@reproduce_failure(…)` on the class `Queue`.
"""

import logging
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from bson import ObjectId
from django.conf import settings as django_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import engine
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect

from jobs import clients, counting, lanes, mongodb, repository, services
from jobs.claims import ClaimedJob, End, Hint
from jobs.clients import Document, collection
from jobs.errors import IllegalMove
from jobs.registry import PRIORITIES
from jobs.requests import Request
from jobs.services import Execution
from jobs.states import WAITING, State
from tests.services.conftest import in_state, requeue_dead, stored
from tests.services.model import Expected, Held, Recorded, check_new, check_state, check_step

EXAMPLES = int(os.environ.get("CHAOS_EXAMPLES", "12"))
STEPS = 40
SHRINK_SECONDS = 30  # to make a failure's steps few before they are told
DRAIN_SECONDS = 10

T = TypeVar("T")

QUEUES = ("default", "mail")
LANES = lanes.in_order(QUEUES)
OPEN = (State.SCHEDULED, State.PENDING, State.RUNNING, State.RETRYING)
WORKERS = [ObjectId(f"{number:024x}") for number in (1, 2)]
FEW = 4  # jobs that may still run: everybody is at the same ones
KEPT_ATTEMPTS = 2
LOST_SECONDS = 600.0  # far beyond what an example takes
BACKOFF_SECONDS = 600.0  # nothing is due by itself


def completed(job: ClaimedJob) -> End:
    now = time.monotonic()
    return services.completion(job, started=now - 0.1, ended=now, result=job.claim)


def failed(job: ClaimedJob) -> End:
    return services.failure(job, error="no", error_type="ValueError")


def crashed(job: ClaimedJob) -> End:
    return services.crash(job, error="boom")


def newest(some: Sequence[T], nth: int) -> T:
    """Return the nth of some, counted back from the newest."""
    return some[-1 - nth % len(some)]


How = Callable[[ClaimedJob], End]
NTH = st.integers(0, 7)
SOME = st.lists(NTH, min_size=1, max_size=3)
HOW = st.sampled_from([crashed, failed, completed])
WORKER = st.sampled_from(WORKERS)
REQUEST = st.builds(
    Request,
    type=st.just("echo"),
    payload=st.fixed_dictionaries({"value": st.integers(0, 9)}),
    priority=st.sampled_from(PRIORITIES),
    queue=st.sampled_from(QUEUES),
    max_attempts=st.integers(1, 3),
    delay=st.sampled_from([None, None, None, 0.001, 3600.0]),
)


class Queue(RuleBasedStateMachine):
    """The job queue under everybody's hands. A rule is one act of one actor."""

    def __init__(self) -> None:
        super().__init__()
        empty_the_stores()
        self.client = clients.blocking_redis()
        self.expected: dict[ObjectId, Expected] = {}
        self.seen: dict[ObjectId, Document] = {}
        self.claims: list[Held] = []  # none is forgotten: most of them are old
        self.ends: list[Recorded] = []
        self.live = set(WORKERS)
        self.audited = 0
        for worker in WORKERS:
            register(worker)

    # --- whoever enqueues

    @precondition(lambda self: self.count_of(*OPEN) < FEW)
    @rule(requests=st.lists(REQUEST, min_size=1, max_size=2))
    def enqueue(self, requests: list[Request]) -> None:
        ids = [ObjectId(id) for id in services.enqueue_many(requests)]
        for id, request in zip(ids, requests, strict=True):
            status = State.SCHEDULED if request.delay else State.PENDING
            self.expected[id] = Expected(status, request.max_attempts or 0)
            self.expected[id].due = request.delay == 0.001

    @initialize(requests=st.lists(REQUEST, min_size=1, max_size=3))
    def begin(self, requests: list[Request]) -> None:
        self.enqueue(requests)

    # --- workers

    @rule(worker=WORKER, count=st.integers(1, 5))
    def worker_claims_from_the_lanes(self, worker: ObjectId, count: int) -> None:
        self.take_hints(worker, count)

    @rule(worker=WORKER, how=st.lists(HOW, min_size=1, max_size=3))
    def worker_works_through_a_batch(self, worker: ObjectId, how: list[How]) -> None:
        if held := self.take_hints(worker, len(how)):
            self.mongodb_holds_what_is_expected()
            self.record(worker, [end(one.job) for end, one in zip(how, held, strict=False)])

    @rule(worker=WORKER, jobs=SOME)
    def worker_claims_by_stale_and_doubled_hints(self, worker: ObjectId, jobs: list[int]) -> None:
        ids = self.ids(jobs)
        self.take(worker, ids, repository.claim(ids, worker))

    @precondition(lambda self: self.current())
    @rule(claim=NTH, how=HOW)
    def worker_ends_one(self, claim: int, how: How) -> None:
        held = newest(self.current(), claim)
        self.record(held.worker, [how(held.job)])

    @precondition(lambda self: self.old())
    @rule(claim=NTH, how=HOW)
    def zombie_ends_one(self, claim: int, how: How) -> None:
        held = newest(self.old(), claim)
        self.record(held.worker, [how(held.job)])

    @precondition(lambda self: self.current())
    @rule(claim=NTH, how=HOW)
    def stranger_ends_one(self, claim: int, how: How) -> None:
        held = newest(self.current(), claim)
        (stranger,) = set(WORKERS) - {held.worker}
        self.record(stranger, [how(held.job)])

    @rule(worker=WORKER, how=st.tuples(HOW, HOW), act=st.sampled_from(["end", "group", "back"]))
    def zombie_acts_while_its_worker_holds_the_job_again(
        self, worker: ObjectId, how: tuple[How, How], act: str
    ) -> None:
        """One thread of a worker is late; another has meanwhile claimed the same job."""
        for late in self.take_hints(worker, 1):
            again = self.claim_again(late)
            ends = [how[0](late.job), how[1](again.job)]
            if act == "back":
                self.give_back(worker, [late])
            elif act == "end":
                self.record(worker, ends[:1])
            else:
                self.record(worker, ends)

    @precondition(lambda self: self.ends)
    @rule(end=NTH)
    def worker_writes_an_end_again(self, end: int) -> None:
        past = newest(self.ends, end)
        self.record(past.worker, [past.end])

    @rule(worker=WORKER)
    def worker_gives_back_all(self, worker: ObjectId) -> None:
        held = self.held_by(worker)
        assert services.give_back(worker) == len(held)
        for job in held:
            job.given_back()

    @precondition(lambda self: self.claims)
    @rule(claims=SOME)
    def worker_gives_back_some_in_time_or_late(self, claims: list[int]) -> None:
        every = [*self.old(), *self.current()]
        some = [newest(every, nth) for nth in claims]
        worker = some[0].worker
        self.give_back(worker, [held for held in some if held.worker == worker])

    @rule(worker=WORKER)
    def steward_sends_a_heartbeat(self, worker: ObjectId) -> None:
        services.heartbeat([worker])
        self.live.add(worker)

    # --- an operator

    @rule(job=NTH)
    def operator_cancels(self, job: int) -> None:
        (id,) = self.ids([job])
        expected = self.expected[id]
        self.act(services.cancel, id, expected.can_be_cancelled, expected.cancelled)

    @rule(job=NTH)
    def operator_requeues(self, job: int) -> None:
        (id,) = self.ids([job])
        expected = self.expected[id]
        self.act(services.requeue, id, expected.can_be_requeued, expected.requeued)

    @precondition(lambda self: self.count_of(State.DEAD))
    @rule()
    def operator_requeues_all_dead_letters(self) -> None:
        dead = [job for job in self.expected.values() if job.status is State.DEAD]
        assert requeue_dead() == len(dead)
        self.audited += 2
        for job in dead:
            job.requeued()

    # --- a steward

    @rule(busy=WORKER, silent=st.sets(WORKER))
    def steward_reaps(self, busy: ObjectId, silent: set[ObjectId]) -> None:
        self.have_work(busy)
        self.live -= silent
        past = mongodb.now() - timedelta(seconds=2 * LOST_SECONDS)
        found = {"_id": {"$in": list(silent)}}
        collection("workers").update_many(found, {"$set": {"heartbeat_at": past}})
        lost = [job for worker in set(WORKERS) - self.live for job in self.held_by(worker)]
        assert services.reap(LOST_SECONDS) == len(lost)
        for job in lost:
            job.ended("lost", shared=True)

    @rule(
        worker=WORKER,
        ran=st.dictionaries(st.integers(0, 3), st.booleans(), max_size=3),
        blame=st.booleans(),
    )
    def steward_buries(self, worker: ObjectId, ran: dict[int, bool], blame: bool) -> None:
        """`ran`: which claims its slots were running, and whether they were overdue."""
        self.have_work(worker)
        every = [held for held in (*self.old(), *self.current()) if held.worker == worker]
        slots = {newest(every, nth): overdue for nth, overdue in ran.items() if every}
        running = [Execution(held.job.id, held.job.claim, slots[held]) for held in slots]
        services.bury(worker, "killed", running, blame=blame)
        self.live.discard(worker)
        overdue = [held for held in slots if slots[held]]
        charged = overdue or list(slots)
        for job in self.still_held(charged) if blame else ():
            job.ended("timed_out" if overdue else "crashed", shared=len(charged) > 1)
        for job in self.held_by(worker):
            job.given_back()

    @precondition(lambda self: self.count_of(*WAITING))
    @rule(jobs=SOME)
    def steward_promotes_what_is_due(self, jobs: list[int]) -> None:
        for id in self.ids(jobs):
            self.expected[id].due = self.expected[id].waits
        due = {id: job for id, job in self.expected.items() if job.waits and job.due}
        past = {"run_at": mongodb.now() - timedelta(seconds=1)}
        collection("jobs").update_many({"_id": {"$in": list(due)}}, {"$set": past})
        assert services.promote() == len(due)
        for job in due.values():
            job.promoted()

    @rule(queue=st.sampled_from(QUEUES))
    def steward_repairs(self, queue: str) -> None:
        services.repair(queue)

    @rule()
    def steward_counts(self) -> None:
        services.count()

    @precondition(lambda self: self.current())
    @rule(claim=NTH, how=HOW)
    def recorder_dies_before_it_counts(self, claim: int, how: How) -> None:
        held = newest(self.current(), claim)
        end = how(held.job)
        dies = patch.object(counting, "close_receipts", side_effect=MemoryError)
        with dies, pytest.raises(MemoryError):
            services.record(held.worker, [end])
        self.ends.append(Recorded(held.worker, end))
        assert self.is_accepted(self.ends[-1])
        self.mongodb_holds_what_is_expected()
        self.totals_are_what_is_expected()
        assert services.count() >= 1

    # --- what happens to Redis

    @rule(lost=st.sets(st.sampled_from(LANES), min_size=1))
    def redis_loses_lanes(self, lost: set[Any]) -> None:
        clients.redis().delete(*map(lanes.key, lost))

    @rule(
        jobs=SOME,
        lane=st.sampled_from(LANES),
        push=st.sampled_from([lanes.push, lanes.push_at_head]),
    )
    def redis_holds_hints_that_are_stale_doubled_or_in_the_wrong_lane(
        self, jobs: list[int], lane: Any, push: Callable[[Iterable[Hint]], bool]
    ) -> None:
        assert push([Hint(id, lane) for id in (*self.ids(jobs), ObjectId())])
        clients.redis().lpush(lanes.key(lane), "garbage")

    # --- what always holds

    @invariant()
    def mongodb_holds_what_is_expected(self) -> None:
        stored = {document["_id"]: document for document in collection("jobs").find()}
        assert stored.keys() == self.expected.keys(), "a job vanished"
        for id, job in self.expected.items():
            self.check(job, stored[id], self.seen.get(id))
            job.changed = job.new_place = False
        self.seen = stored

    @invariant()
    def totals_are_what_is_expected(self) -> None:
        statuses = Counter(job.status for job in self.expected.values())
        assert counting.totals().by_status == {state: statuses[state] for state in State}
        assert counting.miscounted() == {}

    def check(self, job: Expected, document: Document, before: Document | None) -> None:
        check_state(document)
        if before is None:
            check_new(document)
        elif job.changed:
            check_step(before, document, new_place=job.new_place)
        else:
            before.pop("uncounted", None)
            unchanged = {name: document[name] for name in document if name != "uncounted"}
            assert unchanged == before, "it changed though nothing was allowed to change it"
        job.agrees_with(document, KEPT_ATTEMPTS)

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:  # the steps went well
            self.drain()
            self.count()
        self.client.close()

    def drain(self) -> None:
        """Repair and work until nothing is pending: one worker must get every job."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while any(job.can_be_claimed for job in self.expected.values()):
            assert time.monotonic() < deadline, "a pending job is never found again"
            for queue in QUEUES:
                services.repair(queue)
            while held := self.take_hints(WORKERS[0], 10):
                self.mongodb_holds_what_is_expected()
                self.record(WORKERS[0], [completed(one.job) for one in held])
                self.mongodb_holds_what_is_expected()

    def count(self) -> None:
        services.count()
        assert collection("receipts").count_documents({"counted_at": None}) == 0
        self.totals_are_what_is_expected()
        assert collection("audit").count_documents({}) == self.audited

    # --- acts that several rules share

    def ids(self, jobs: Iterable[int]) -> list[ObjectId]:
        known = list(self.expected)
        return [newest(known, nth) for nth in jobs]

    def count_of(self, *states: State) -> int:
        return sum(job.status in states for job in self.expected.values())

    def hints(self) -> list[str]:
        """Return what the lanes hold, in the order in which it is taken."""
        with clients.redis().pipeline() as pipeline:
            for lane in LANES:
                pipeline.lrange(lanes.key(lane), 0, -1)
            return [text for ids in pipeline.execute() for text in reversed(ids)]

    def have_work(self, worker: ObjectId) -> None:
        if not self.take_hints(worker, 2):
            self.enqueue([Request(type="echo", payload={}, max_attempts=2)])
            self.mongodb_holds_what_is_expected()
            self.take_hints(worker, 1)
        self.mongodb_holds_what_is_expected()

    def take_hints(self, worker: ObjectId, count: int) -> list[Held]:
        """Claim as a worker does, until there is something or nothing is left to try."""
        while hints := self.hints()[:count]:  # on empty lanes it would sleep
            claimed = services.claim(self.client, QUEUES, worker=worker, count=count)
            ids = [ObjectId(text) for text in hints if ObjectId.is_valid(text)]
            if held := self.take(worker, ids, claimed):
                return held
        return []

    def take(
        self, worker: ObjectId, ids: Sequence[ObjectId], claimed: Sequence[ClaimedJob]
    ) -> list[Held]:
        known = [id for id in dict.fromkeys(ids) if id in self.expected]
        assert [job.id for job in claimed] == [
            id for id in known if self.expected[id].can_be_claimed
        ]
        for job in claimed:
            expected = self.expected[job.id]
            expected.claimed(worker)
            assert (job.claim, job.attempt) == (expected.claim, expected.attempt + 1)
            assert job.payload == self.seen[job.id]["payload"]
        held = [Held(worker, job) for job in claimed]
        self.claims += held
        return held

    def record(self, worker: ObjectId, ends: Sequence[End]) -> None:
        refused = services.record(worker, ends)
        for end in ends:
            self.ends.append(Recorded(worker, end))
            accepted = self.is_accepted(self.ends[-1])
            assert accepted in (None, end not in refused), f"{end} {'not' * bool(accepted)} refused"

    def is_accepted(self, recorded: Recorded) -> bool | None:
        """Return whether an end must be accepted, and apply it if so; `None`: nobody can say."""
        end = recorded.end
        job = self.expected[end.id]
        if job.holds(recorded.worker, end.claim):
            job.ended(end.outcome, recorded)
            return True
        if end.claim not in job.ends:
            return False
        outcome, first = job.ends[end.claim]
        if first == recorded:
            return True if end.claim in list(job.ends)[-KEPT_ATTEMPTS:] else None
        if outcome == end.outcome:
            return None
        return False

    def claim_again(self, held: Held) -> Held:
        self.mongodb_holds_what_is_expected()
        self.give_back(held.worker, [held])
        self.mongodb_holds_what_is_expected()
        ids = [held.job.id]
        (again,) = self.take(held.worker, ids, repository.claim(ids, held.worker))
        self.mongodb_holds_what_is_expected()
        return again

    def give_back(self, worker: ObjectId, some: list[Held]) -> None:
        held = self.still_held(some)
        assert give_back(worker, some) == len(held)
        for job in held:
            job.given_back()

    def current(self) -> list[Held]:
        return [held for held in self.claims if self.holds(held)]

    def old(self) -> list[Held]:
        """Return the claims that are over; last come those whose job is claimed again."""
        old = [held for held in self.claims if not self.holds(held)]
        return sorted(old, key=lambda held: self.expected[held.job.id].status is State.RUNNING)

    def held_by(self, worker: ObjectId) -> list[Expected]:
        return [job for job in self.expected.values() if job.holds(worker, job.claim)]

    def still_held(self, some: Iterable[Held]) -> list[Expected]:
        """Return the jobs that are still held under these claims, each once."""
        found = {held.job.id: held for held in some if self.holds(held)}
        return [self.expected[id] for id in found]

    def holds(self, held: Held) -> bool:
        return self.expected[held.job.id].holds(held.worker, held.job.claim)

    def act(
        self, verb: Callable[..., None], id: ObjectId, allowed: bool, moved: Callable[[], None]
    ) -> None:
        if not allowed:
            with pytest.raises(IllegalMove):
                verb(str(id), actor="operator")
            return
        verb(str(id), actor="operator")
        self.audited += 1
        moved()


def give_back(worker: ObjectId, some: Iterable[Held]) -> int:
    """Give back under these claims."""
    return services.give_back(worker, [held.job for held in some])


def register(worker: ObjectId) -> None:
    facts = {"supervisor": worker, "host": "h", "pid": 1, "concurrency": 1, "version": "0"}
    repository.register_worker({"_id": worker, "queues": list(QUEUES), **facts})


def empty_the_stores() -> None:
    for name in ("jobs", "workers", "audit", "tallies", "receipts"):
        collection(name).delete_many({})
    clients.redis().delete(*map(lanes.key, LANES))


@pytest.mark.timeout(120 + 10 * EXAMPLES)
def test_no_interleaving_breaks_a_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "jobs")  # refusals by the thousand
    monkeypatch.setattr(engine, "MAX_SHRINKING_SECONDS", SHRINK_SECONDS)
    monkeypatch.setattr(repository, "KEPT_ATTEMPTS", KEPT_ATTEMPTS)
    monkeypatch.setattr(services, "REPAIR_GRACE", timedelta(0))
    monkeypatch.setattr(services, "LEFT_BEHIND_SECONDS", 0.0)
    monkeypatch.setattr(django_settings, "JOB_BACKOFF_SECONDS", BACKOFF_SECONDS)
    monkeypatch.setattr(random, "uniform", lambda *_: BACKOFF_SECONDS)  # jobs that come back apart
    run_state_machine_as_test(
        Queue,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=False,
            print_blob=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# --- faults that the core once had, each as small as it gets -----------------------------------


def test_a_late_end_of_a_claim_that_was_recorded_as_lost_is_refused() -> None:
    services.enqueue("echo", {})
    (zombie,) = claim_pending(WORKERS[0])
    services.reap(LOST_SECONDS)  # nobody knows the worker: its claim ends as lost
    assert services.record(WORKERS[0], [completed(zombie)]) != []


def test_giving_back_under_an_old_claim_leaves_the_new_one_alone() -> None:
    id = services.enqueue("echo", {})
    (old,) = claim_pending(WORKERS[0])
    services.reap(LOST_SECONDS)
    (new,) = claim_pending(WORKERS[0])
    assert give_back(WORKERS[0], [Held(WORKERS[0], old)]) == 0
    assert stored(id)["status"] == "running"
    assert services.record(WORKERS[0], [completed(new)]) == []


def test_a_late_end_does_not_hide_the_true_one_in_the_same_group() -> None:
    """After it, nobody would ever end the job: its worker lives, and holds it for good."""
    id = services.enqueue("echo", {})
    (old,) = claim_pending(WORKERS[0])
    services.reap(LOST_SECONDS)
    (new,) = claim_pending(WORKERS[0])
    services.record(WORKERS[0], [completed(old), completed(new)])
    assert stored(id)["status"] == "completed"


def test_a_claim_whose_answer_was_not_read_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The write took the job; the read after it broke. A live worker holds what it never got."""
    services.enqueue("echo", {})
    broken = iter([AutoReconnect("reset by peer")])
    find = Collection.find

    def break_once(self: Any, *args: Any, **options: Any) -> Any:
        for error in broken:
            raise error
        return find(self, *args, **options)

    pending = pending_ids()
    monkeypatch.setattr(Collection, "find", break_once)
    claimed = repository.claim(pending, WORKERS[0])
    monkeypatch.undo()
    assert [job.id for job in claimed] == pending


def test_two_bulk_requeues_of_the_same_set_count_each_job_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = in_state(State.DEAD), in_state(State.DEAD)
    update_many = Collection.update_many

    def another_was_first(self: Any, *args: Any, **options: Any) -> Any:
        monkeypatch.undo()
        assert repository.requeue({"_id": first.id}) != []
        return update_many(self, *args, **options)

    monkeypatch.setattr(Collection, "update_many", another_was_first)
    assert [hint.id for hint in repository.requeue({"status": State.DEAD})] == [second.id]


def claim_pending(worker: ObjectId) -> list[ClaimedJob]:
    return repository.claim(pending_ids(), worker)


def pending_ids() -> list[ObjectId]:
    return [job["_id"] for job in collection("jobs").find({"status": State.PENDING})]
