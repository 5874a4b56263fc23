"""Workers say how they are, what they hold and why they ended; the audit says who did what."""

from collections.abc import Callable

from bson import ObjectId
from django.test import Client

from jobs import counts, mongodb, selectors, services
from jobs.clients import collection
from tests.web.actors import api, problem
from tests.web.conftest import FRAGMENT, NAME, Line, changes


def hold(worker: ObjectId, count: int) -> None:
    """Have a worker hold that many jobs, as after the claim of a batch."""
    taken = {"type": NAME, "status": "running", "queue": "default", "priority": "medium"}
    held = {**taken, "worker": worker, "started_at": mongodb.now()}
    collection("jobs").insert_many([{**held, "_id": ObjectId()} for _ in range(count)])


def test_a_live_worker_and_what_it_holds(operator: Client, line: Line) -> None:
    id = line.running()
    page = operator.get("/workers/").content.decode()
    assert "host.example:7" in page
    assert "9.9" in page
    assert "is-live" in page
    assert f'href="/jobs/{id}/"' in page


def test_one_batch_of_many_jobs_hides_nothing_of_the_other_workers(
    operator: Client, line: Line
) -> None:
    hold(line.worker, 600)
    other = Line()
    id = other.running()
    counts.forget()
    page = operator.get("/workers/").content.decode()
    assert "Idle." not in page
    assert page.count("<dd>1 of 1</dd>") == 2
    assert "and 580 more" in page
    assert f'id="held-{id}"' in page
    assert "which holds 600 jobs" in operator.get(f"/workers/{line.worker}/stop/").content.decode()
    assert "which holds 1 job." in operator.get(f"/workers/{other.worker}/stop/").content.decode()
    shown = {each["id"]: each for each in api("viewer").get("workers/").json()["results"]}
    assert (shown[str(other.worker)]["held"], shown[str(other.worker)]["running"]) == (1, [id])
    many = shown[str(line.worker)]
    assert (many["held"], len(many["running"])) == (600, selectors.HELD_ROWS)


def test_the_jobs_that_are_shown_of_a_worker_are_those_it_has_held_for_longest(
    operator: Client, line: Line
) -> None:
    hold(line.worker, 30)
    id = line.running()
    past = {"$subtract": ["$$NOW", 150_000]}
    collection("jobs").update_one({"_id": ObjectId(id)}, [{"$set": {"started_at": past}}])
    page = operator.get("/workers/").content.decode()
    assert f'<ul class="held" aria-label="What it holds"><li id="held-{id}">' in page


def test_only_a_worker_that_holds_nothing_is_idle(operator: Client, line: Line) -> None:
    assert "Idle." in operator.get("/workers/").content.decode()
    line.running()
    counts.forget()
    assert "Idle." not in operator.get("/workers/").content.decode()


def test_an_ended_worker_says_why(operator: Client, line: Line) -> None:
    services.end_worker(line.worker, "stopped by SIGTERM")
    page = operator.get("/workers/").content.decode()
    assert "is-ended" in page
    assert "stopped by SIGTERM" in page


def test_a_lost_worker(operator: Client, line: Line) -> None:
    past = {"$subtract": ["$$NOW", 3_600_000]}
    collection("workers").update_one({"_id": line.worker}, [{"$set": {"heartbeat_at": past}}])
    assert "is-lost" in operator.get("/workers/").content.decode()


def test_no_worker_says_what_to_do(operator: Client, stores: str) -> None:
    assert "manage.py runworkers" in operator.get("/workers/").content.decode()


def test_the_audit(client_of: Callable[..., Client], line: Line) -> None:
    client = client_of("admin")
    assert "No entry matches." in client.get("/audit/?action=cancel").content.decode()
    services.cancel(line.pending(), actor="olga")
    page = client.get("/audit/").content.decode()
    assert "olga" in page
    assert "cancel" in page


def asked(line: Line) -> str | None:
    found = collection("workers").find_one({"_id": line.worker})
    assert found
    return str(found["asked"]) if found["asked"] else None


def test_workers_are_shown_by_their_runworkers_with_skew_and_how_they_do(
    operator: Client, line: Line
) -> None:
    said = {"done": 1234, "failed": 5, "rss_bytes": 48_000_000, "cpu_percent": 12.0}
    services.heartbeat([line.worker], [{**said, "quiet": False}])
    page = operator.get("/workers/").content.decode()
    assert "this page runs" in page
    assert "1,234 / 5" in page
    assert "48 MB" in page
    assert "Quiet<span" in page


def test_what_a_worker_holds_is_shown_against_its_timeout(operator: Client, line: Line) -> None:
    id = line.running()
    past = {"$subtract": ["$$NOW", 150_000]}
    collection("jobs").update_one({"_id": ObjectId(id)}, [{"$set": {"started_at": past}}])
    page = operator.get("/workers/").content.decode()
    assert 'class="fill" width="50"' in page
    assert "of 5 m" in page


def test_quiet_resume_and_stop_are_asked_of_all_siblings(operator: Client, line: Line) -> None:
    operator.post(f"/workers/{line.worker}/quiet/")
    assert asked(line) == "quiet"
    page = operator.get("/workers/").content.decode()
    assert "asked to be quiet by operator" in page
    services.heartbeat([line.worker], [{"quiet": True}])
    page = operator.get("/workers/").content.decode()
    assert "asked to be quiet" not in page
    assert "It takes no new job" in page
    operator.post(f"/workers/{line.worker}/resume/")
    assert "Stop this runworkers?" in operator.get(f"/workers/{line.worker}/stop/").content.decode()
    operator.post(f"/workers/{line.worker}/stop/")
    assert asked(line) == "stop"
    assert "asked to stop by operator" in operator.get("/workers/").content.decode()
    assert changes() == ["stop_workers", "resume_workers", "quiet_workers"]


def test_who_has_ended_can_be_asked_nothing(operator: Client, line: Line) -> None:
    services.end_worker(line.worker, "stopped")
    answer = operator.post(f"/workers/{line.worker}/quiet/", **FRAGMENT)
    assert answer.status_code == 409
    assert "there is nobody to heed it" in answer.content.decode()
    assert asked(line) is None
    assert operator.get("/workers/nonsense/stop/").status_code == 404


def test_the_api_asks_and_answers_with_the_worker(line: Line) -> None:
    id = line.running()
    Line().running()
    answer = api().post(f"workers/{line.worker}/quiet/")
    assert answer.json()["asked"] == "quiet"  # type: ignore[attr-defined]
    assert answer.json()["held"] == 1  # type: ignore[attr-defined]
    assert answer.json()["running"] == [id]  # type: ignore[attr-defined]
    problem(api("viewer").post(f"workers/{line.worker}/quiet/"), 403)
    problem(api().post(f"workers/{ObjectId()}/stop/"), 404)
    problem(api().post(f"workers/{line.worker}/stop/", {"now": True}), 400)
    services.end_worker(line.worker, "stopped")
    problem(api().post(f"workers/{line.worker}/resume/"), 409)
