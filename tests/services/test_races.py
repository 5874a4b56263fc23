"""Eight threads at the same few jobs at once: people, workers and a steward (admin races)."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier

import pytest
from bson import ObjectId
from django.db import connections

from jobs import counts, repository, services
from jobs.claims import ClaimedJob
from jobs.clients import Document, collection
from jobs.errors import IllegalMove
from jobs.requests import Request
from jobs.services import Execution
from jobs.states import State
from tests.services.conftest import WORKER
from tests.services.model import check_state

ROUNDS = 25
JOBS = 4
LIVE = ObjectId()  # claims what the others set free


@dataclass
class Seen:
    """What one thread was told: the acts of a person that were accepted, and accepted ends."""

    people: Counter[tuple[str, str]] = field(default_factory=Counter)  # (action, job)
    ends: Counter[tuple[ObjectId, int]] = field(default_factory=Counter)  # (job, claim)


Act = Callable[[list[ClaimedJob], Seen], None]


def asking(action: str, verb: Callable[..., None]) -> Act:
    def ask(held: list[ClaimedJob], seen: Seen) -> None:
        for job in held:
            try:
                verb(str(job.id), actor="operator")
            except IllegalMove:
                continue
            seen.people[action, str(job.id)] += 1

    return ask


def record(held: list[ClaimedJob], seen: Seen) -> None:
    now = time.monotonic()
    for job in held:
        end = services.completion(job, started=now, ended=now, result=job.claim)
        if not services.record(WORKER, [end]):
            seen.ends[job.id, job.claim] += 1


def reap(held: list[ClaimedJob], seen: Seen) -> None:
    services.reap(600)  # nobody knows WORKER: it is lost


def bury(held: list[ClaimedJob], seen: Seen) -> None:
    running = [Execution(job.id, job.claim, overdue=False) for job in held]
    services.bury(WORKER, "killed", running, blame=True)


def claim(held: list[ClaimedJob], seen: Seen) -> None:
    repository.claim([job.id for job in held], LIVE)


cancel = asking("cancel", services.cancel)
requeue = asking("requeue", services.requeue)
ACTS: list[Act] = [cancel, cancel, requeue, requeue, record, reap, bury, claim]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """As many threads as acts, each with its own connection, as in a web server."""
    with ThreadPoolExecutor(len(ACTS)) as pool:
        yield pool
        barrier = Barrier(len(ACTS))
        list(pool.map(lambda _: (barrier.wait(10), connections.close_all()), ACTS))


def at_once(threads: ThreadPoolExecutor, acts: list[Act], held: list[ClaimedJob]) -> list[Seen]:
    """Have each act done by a thread of its own, all started together."""
    barrier = Barrier(len(acts))

    def run(act: Act) -> Seen:
        seen = Seen()
        mine = random.sample(held, len(held))
        barrier.wait(10)
        act(mine, seen)
        return seen

    return [future.result(60) for future in [threads.submit(run, act) for act in acts]]


def running_jobs(type: str = "echo") -> list[ClaimedJob]:
    requests = [Request(type=type, payload={}, max_attempts=2)] * JOBS
    ids = [ObjectId(id) for id in services.enqueue_many(requests)]
    return repository.claim(ids, WORKER)


def stored() -> list[Document]:
    return list(collection("jobs").find())


def check_counts() -> None:
    counts.forget()
    counted = Counter(job["status"] for job in stored())
    assert counts.stats().by_status == {state: counted[state] for state in State}
    assert counts.stats().total == counted.total()


def check_audit(seen: list[Seen]) -> None:
    """One row for each act that was accepted, none for one that was refused."""
    rows = Counter((entry["action"], entry["target"]) for entry in collection("audit").find())
    assert rows == sum((one.people for one in seen), Counter())


def check_people_took_turns(seen: list[Seen]) -> None:
    """A job that is never dead goes in and out of `cancelled` by people alone."""
    accepted = sum((one.people for one in seen), Counter())
    for job in stored():
        id = str(job["_id"])
        inside = accepted["cancel", id] - accepted["requeue", id]
        assert inside == (job["status"] == State.CANCELLED)


def check_ends(seen: list[Seen]) -> None:
    """At most one end a claim; one that was called accepted is stored, and the other way round."""
    accepted = sum((one.ends for one in seen), Counter())
    for job in stored():
        check_state(job)
        completed = [entry for entry in job["attempts"] if entry["outcome"] == "completed"]
        assert len(completed) == (job["status"] == State.COMPLETED)
        for entry in completed:
            assert accepted[job["_id"], entry["claim"]] >= 1
            assert job["result"] == entry["claim"]
        for claim in range(1, job["claim"] + 1):
            known = claim in [entry["claim"] for entry in completed]
            assert known == (accepted[job["_id"], claim] >= 1)


@pytest.mark.usefixtures("_live_worker")
def test_admin_races_leave_one_end_a_claim_and_one_row_an_act(threads: ThreadPoolExecutor) -> None:
    seen: list[Seen] = []
    for _ in range(ROUNDS):
        seen += at_once(threads, ACTS, running_jobs())
    assert len(stored()) == ROUNDS * JOBS
    check_ends(seen)
    check_people_took_turns(seen)
    check_audit(seen)
    check_counts()


@pytest.mark.parametrize("act", [cancel, requeue], ids=["cancel", "requeue"])
def test_of_eight_people_who_do_the_same_one_is_accepted(
    act: Act, threads: ThreadPoolExecutor
) -> None:
    seen: list[Seen] = []
    for _ in range(ROUNDS):
        held = running_jobs()
        if act is requeue:
            repository.cancel({"_id": {"$in": [job.id for job in held]}}, 60)
        told = at_once(threads, [act] * len(ACTS), held)
        assert set(sum((one.people for one in told), Counter()).values()) == {1}
        seen += told
    check_audit(seen)
    check_counts()


def test_eight_writers_of_ends_of_one_claim_leave_one(threads: ThreadPoolExecutor) -> None:
    for _ in range(ROUNDS):
        held = running_jobs()
        at_once(threads, [record, reap, bury, fail] * 2, held)
        for job in stored():
            check_state(job)
            assert [entry["claim"] for entry in job["attempts"]] in ([1], [])
            assert job["attempts"] or job["status"] == State.PENDING  # given back by `bury`
    check_counts()


def fail(held: list[ClaimedJob], seen: Seen) -> None:
    services.record(WORKER, [services.failure(job, error="no") for job in held])


@pytest.fixture
def _live_worker() -> None:
    register_live()


def register_live() -> None:
    """Make the worker known that claims what the others set free."""
    facts = {"supervisor": LIVE, "host": "h", "pid": 1, "concurrency": 1, "version": "0"}
    services.register_worker(LIVE, ["default"], **facts)
