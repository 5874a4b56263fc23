import tracemalloc
from datetime import timedelta

import pytest
from bson import ObjectId

from jobs import counts, mongodb, repository, selectors, services
from jobs.clients import collection, mongo
from jobs.errors import InvalidRequest, NotFound
from jobs.requests import Request
from jobs.search import id_near
from jobs.selectors import AuditFilter, JobFilter
from jobs.states import State
from tests.profiler import profiled

pytestmark = pytest.mark.usefixtures("stores")


def fill(count=5, **chosen):
    request = Request(type="process_data", payload=PAYLOAD, **chosen)
    return services.enqueue_many([request] * count)


PAYLOAD = {"action": "describe", "records": [{"a": 1}]}


def set_status(ids, status):
    objects = {"_id": {"$in": [ObjectId(id) for id in ids]}}
    collection("jobs").update_many(objects, {"$set": {"status": status}})


def test_pages_are_newest_first_without_gaps_or_repeats():
    ids = fill(7)
    seen, cursor = [], ""
    while cursor is not None:
        page = selectors.jobs(JobFilter(), cursor=cursor, size=3)
        seen += [str(job.id) for job in page.jobs]
        fill(1)  # arrivals do not shift the pages
        cursor = page.next_cursor
    assert seen == ids[::-1]


def test_every_job_comes_newest_first_without_gaps_or_repeats(monkeypatch):
    ids = fill(7)
    monkeypatch.setattr(selectors, "MAX_PAGE_SIZE", 3)
    every = [str(job.id) for job in selectors.every_job(JobFilter(), 100)]
    assert every == ids[::-1]
    assert [str(job.id) for job in selectors.every_job(JobFilter(), 5)] == ids[:1:-1]


def test_of_large_jobs_few_are_in_memory_at_once():
    ids, megabyte, many = fill(16), 1024 * 1024, 16
    for id in ids:  # each another text, as most are
        large = {"payload": {"action": id * (megabyte // len(id))}}
        collection("jobs").update_one({"_id": ObjectId(id)}, {"$set": large})
    tracemalloc.start()
    try:
        seen = [str(job.id) for job in selectors.every_job(JobFilter(), 100)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == ids[::-1]
    assert peak < many * megabyte


def test_workers_that_ended_hide_none_that_lives(monkeypatch):
    monkeypatch.setattr(selectors, "WORKERS", 2)
    facts = {"supervisor": ObjectId(), "host": "a", "pid": 1, "concurrency": 1, "version": "1"}
    boots = [ObjectId() for _ in range(5)]
    for id in boots:
        services.register_worker(id, ["default"], **facts)
    *ended, first, last = boots
    for id in ended:
        services.end_worker(id, "It was told to stop.")
    seen = [(view.worker.id, view.state) for view in selectors.workers()]
    assert seen == [(first, "live"), (last, "live"), (ended[1], "ended"), (ended[2], "ended")]
    assert [view.worker.id for view in selectors.workers(ended=False)] == [first, last]


def test_filters_narrow_and_q_finds_an_id_a_type_or_a_tag():
    (tagged,) = fill(1, tags=["invoice"], priority="high")
    (other,) = fill(1, queue="mail")
    found = {
        "status=pending": selectors.jobs(JobFilter(status="pending")),
        "priority": selectors.jobs(JobFilter(priority="high")),
        "queue": selectors.jobs(JobFilter(queue="mail")),
        "id": selectors.jobs(JobFilter(q=tagged)),
        "type": selectors.jobs(JobFilter(q="process_data")),
        "tag": selectors.jobs(JobFilter(q="invoice")),
        "none": selectors.jobs(JobFilter(type="send_email")),
    }
    ids = {name: {str(job.id) for job in page.jobs} for name, page in found.items()}
    both = {tagged, other}
    assert ids == {
        "status=pending": both,
        "priority": {tagged},
        "queue": {other},
        "id": {tagged},
        "type": both,
        "tag": {tagged},
        "none": set(),
    }


@pytest.mark.parametrize(
    "bad", [{"status": "x"}, {"priority": "x"}, {"type": "$gt"}, {"q": "a b"}, {"queue": "é"}]
)
def test_a_bad_filter_is_named(bad):
    with pytest.raises(InvalidRequest) as caught:
        selectors.jobs(JobFilter(**bad))
    assert {error.field for error in caught.value.errors} == set(bad)


@pytest.mark.parametrize("cursor", ["x", "AAAA", "é", "a" * 500, "awUTrQbK3-XSrR__"[:-1]])
def test_a_bad_cursor_is_refused(cursor):
    with pytest.raises(InvalidRequest):
        selectors.jobs(JobFilter(), cursor=cursor)


def test_one_job_or_a_clear_answer():
    (id,) = fill(1)
    assert str(selectors.job(id).id) == id
    with pytest.raises(NotFound):
        selectors.job(str(ObjectId()))
    with pytest.raises(InvalidRequest):
        selectors.job("x")


def test_counts_by_state_and_lane_are_exact():
    set_status(fill(4), State.COMPLETED)
    set_status(fill(2), State.DEAD)
    fill(3, priority="low")
    fill(1, queue="mail", priority="high")
    services.recount()
    stats = counts.stats()
    counted = {status: count for status, count in stats.by_status.items() if count}
    assert counted == {"completed": 4, "dead": 2, "pending": 4}
    assert stats.total == 10
    depths = {(d.lane.queue, d.lane.priority): d.depth for d in stats.lanes}
    assert depths == {
        ("default", "high"): 0,
        ("default", "medium"): 0,
        ("default", "low"): 3,
        ("mail", "high"): 1,
        ("mail", "medium"): 0,
        ("mail", "low"): 0,
    }


def test_activity_counts_only_its_period():
    fill(3)
    now = mongodb.now() + timedelta(seconds=1)
    (row,) = selectors.activity(now - timedelta(hours=1), now)
    assert (row.type, row.status, row.count) == ("process_data", "pending", 3)
    assert selectors.activity(now, now + timedelta(hours=1)) == []


def test_activity_tells_how_long_executions_took_and_not_when_a_person_came():
    """Who discards a dead job ends it a second time, perhaps days after it ran."""
    completed, dead, discarded, cancelled = fill(4)
    now = mongodb.now()
    for id, seconds in ((completed, 1), (dead, 3), (discarded, 2)):
        ran = {"started_at": now - timedelta(seconds=seconds), "finished_at": now}
        collection("jobs").update_one({"_id": ObjectId(id)}, {"$set": ran})
    set_status([completed], "completed")
    set_status([dead, discarded], "dead")
    services.cancel(discarded, actor="ada")
    services.cancel(cancelled, actor="ada")
    rows = selectors.activity(now - timedelta(hours=1), now + timedelta(hours=1))
    assert {row.status: (row.count, row.mean_seconds) for row in rows} == {
        "completed": (1, 1.0),
        "dead": (1, 3.0),
        "cancelled": (2, None),
    }


PLANS = {
    "lane": {"status": "pending", "queue": "default", "priority": "low"},
    "due": {"status": {"$in": ["scheduled", "retrying"]}, "run_at": {"$lte": 0}},
    "held": {"status": "running", "worker": ObjectId()},
    "by_status": {"status": "dead"},
    "by_type": {"type": "echo"},
    "by_tag": {"tags": {"$gt": ""}},
    "uncounted": {"uncounted": True},
    "expired": {"expire_at": {"$gt": repository.EPOCH, "$lte": repository.EPOCH + timedelta(1)}},
}
ORDERS = {"due": "run_at", "lane": "enqueued_at", "expired": "expire_at", "uncounted": "created_at"}


@pytest.mark.parametrize("index", PLANS)
def test_each_index_answers_the_question_it_is_for(index):
    order = ORDERS.get(index, "_id")
    plan = collection("jobs").find(PLANS[index]).sort(order, -1 if order == "_id" else 1).explain()
    stages, stage = [], plan["queryPlanner"]["winningPlan"]
    while stage:
        stages.append(stage.get("indexName"))
        stage = stage.get("inputStage") or (stage.get("inputStages") or [None])[0]
    assert index in stages or index in ("held", "due", "by_tag")


@pytest.mark.parametrize(
    "chosen", [{"refused": "yes"}, {"since": 298.5}, {"until": 1.5}, {"since": 150.5, "until": 152}]
)
def test_the_audit_is_not_walked_for_the_few_rows_that_match(chosen):
    begin, hour = mongodb.now().replace(microsecond=0) - timedelta(hours=301), timedelta(hours=1)
    moments = [begin + number * hour for number in range(300)]
    collection("audit").insert_many(
        {"_id": id_near(at, timedelta()), "at": at, "refused": at == begin} for at in moments
    )
    times = {name: begin + value * hour for name, value in chosen.items() if name != "refused"}
    with profiled() as entries:
        page = selectors.audit(AuditFilter(**{**chosen, **times}))
    (seen,) = [entry for entry in entries if entry["ns"] == f"{mongo().name}.audit"]
    assert 1 <= len(page.entries) <= 2
    assert seen["docsExamined"] <= 5


def test_a_page_of_the_audit_goes_on_within_its_times():
    begin, hour = mongodb.now().replace(microsecond=0) - timedelta(hours=9), timedelta(hours=1)
    moments = [begin + number * hour for number in range(9)]
    collection("audit").insert_many({"_id": id_near(at, timedelta()), "at": at} for at in moments)
    chosen = AuditFilter(since=moments[2], until=moments[6])
    first = selectors.audit(chosen, size=2)
    second = selectors.audit(chosen, size=2, cursor=first.next_cursor)
    seen = [entry.at for entry in (*first.entries, *second.entries)]
    assert (seen, second.next_cursor) == (moments[5:1:-1], None)


def test_what_was_kept_long_enough_is_deleted_and_nothing_else():
    over, kept, open_ended = (fill(n) for n in (3, 2, 1))
    hour = timedelta(hours=1)
    for ids, at in ((over, mongodb.now()), (kept, mongodb.now() + hour)):
        objects = {"_id": {"$in": [ObjectId(id) for id in ids]}}
        changes = {"status": "completed", "expire_at": at, "uncounted": None}
        collection("jobs").update_many(objects, {"$set": changes})
    services.recount()
    assert services.expire() == 3
    assert services.expire() == 0
    left = {str(job["_id"]) for job in collection("jobs").find()}
    assert left == {*kept, *open_ended}
    stats = counts.stats()
    assert (stats.total, stats.by_status["completed"]) == (3, 2)


def test_mongodb_deletes_no_job_by_itself():
    for index in mongo()["jobs"].list_indexes():
        assert "expireAfterSeconds" not in index, "its total would never hear of that"


@pytest.mark.parametrize(
    "chosen", [{}, {"status": "completed"}, {"type": "process_data"}, {"status": "pending"}]
)
def test_a_page_of_jobs_reads_no_more_jobs_than_it_shows(chosen):
    set_status(fill(300), State.COMPLETED)
    fill(300)
    with profiled() as entries:
        page = selectors.jobs(JobFilter(**chosen), size=10)
    read = [entry.get("docsExamined", 0) for entry in entries]
    assert len(page.jobs) == 10
    assert sum(read) <= 30
