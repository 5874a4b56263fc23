from itertools import pairwise

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from jobs import services
from jobs.clients import collection

BACKOFFS = (2.0, 4.0, 8.0)
LATE = 0.5  # seconds: what the design allows, and a slow machine needs some of


def test_failures_back_off_2_4_8_seconds_then_rest_dead_and_requeue_completes(
    tree, until, all_in, document
):
    default_storage.save("causes/broken", ContentFile(b""))
    payload = {"fail_times": 9, "cause": "broken"}
    id = services.enqueue("flaky", payload, priority="high")
    tree("--processes", "1")
    until(lambda: document(id)["status"] == "dead", 40)
    dead = document(id)
    attempts = dead["attempts"]
    assert [attempt["attempt"] for attempt in attempts] == [1, 2, 3, 4]
    assert all(attempt["outcome"] == "failed" for attempt in attempts)
    assert all("Traceback" in attempt["traceback"] for attempt in attempts)
    assert all(attempt["error"] for attempt in attempts)
    for (failed, again), backoff in zip(pairwise(attempts), BACKOFFS, strict=True):
        waited = (again["started_at"] - failed["ended_at"]).total_seconds()
        assert backoff <= waited <= backoff * 1.1 + LATE

    default_storage.delete("causes/broken")
    services.requeue(id, actor="test")
    until(lambda: document(id)["status"] == "completed")
    healed = document(id)
    kept = ("type", "payload", "priority", "queue")
    assert [healed[name] for name in kept] == [dead[name] for name in kept]
    assert len(healed["attempts"]) == 5


def test_a_job_type_that_no_worker_knows_fails_with_that_reason(tree, until, document, all_in):
    from jobs import job, registry

    @job(max_attempts=1)
    def only_here() -> None: ...

    try:
        id = services.enqueue("only_here", {})
    finally:
        del registry._types["only_here"]
    tree("--processes", "1")
    until(lambda: document(id)["status"] == "dead")
    assert "only_here" in document(id)["error"]


def test_a_delayed_job_waits_for_its_time(tree, until, document):
    tree("--processes", "1")
    until(lambda: collection("workers").find_one({}))
    id = services.enqueue("noop", {}, delay=1.5)
    assert document(id)["status"] == "scheduled"
    until(lambda: document(id)["status"] == "completed")
    done = document(id)
    waited = (done["started_at"] - done["created_at"]).total_seconds()
    assert 1.5 <= waited <= 1.5 + 1.0
