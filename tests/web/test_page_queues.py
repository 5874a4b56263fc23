"""Queues: how far behind each is; they are paused for a reason and resumed."""

import re
from datetime import timedelta

from bson import ObjectId
from django.test import Client

from jobs import counts, mongodb, selectors, services
from jobs.clients import collection
from tests.web.actors import api
from tests.web.conftest import FRAGMENT, Line


def text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def serve(queue: str) -> ObjectId:
    """Start another worker on the host of the line's, for this queue."""
    facts = {"host": "host.example", "pid": 8, "concurrency": 1, "version": "9.9"}
    services.register_worker(id := ObjectId(), [queue], supervisor=ObjectId(), **facts)
    return id


def test_lanes_of_each_queue(operator: Client, line: Line) -> None:
    line.pending(queue="mail", priority="high")
    page = operator.get("/queues/").content.decode()
    assert 'id="queue-mail"' in page
    assert 'id="lane-mail-high"' in page


def test_a_queue_that_nobody_serves_says_what_to_start(operator: Client, line: Line) -> None:
    line.pending(queue="mail")
    counts.forget()
    page = text(operator.get("/queues/mail/").content.decode())
    assert "No live worker serves this queue, and 1 job waits." in page
    assert "runworkers --queues mail" in page


def test_a_queue_counts_the_workers_that_serve_it_and_not_all_of_their_host(
    operator: Client, line: Line
) -> None:
    line.running()
    serve("mail")
    line.pending(queue="mail")
    counts.forget()
    page = text(operator.get("/queues/mail/").content.decode())
    assert "host.example 1 live, 0 of 1 busy" in page
    assert "host.example 2 live, 1 of 2 busy" in text(operator.get("/").content.decode())
    assert api("viewer").get("queues/mail/backlog/").json()["workers"] == 1


def test_a_queue_whose_workers_are_quiet_is_not_served(operator: Client, line: Line) -> None:
    line.pending()
    services.heartbeat([line.worker], [{"quiet": True}])
    counts.forget()
    page = text(operator.get("/queues/default/").content.decode())
    assert "All workers that serve this queue are quiet, and 1 job waits. Resume them on" in page
    assert "host.example 1 live (1 quiet), 0 of 1 busy" in page
    assert "its workers are quiet" in page
    page = text(operator.get("/queues/").content.decode())
    assert "All workers that serve default are quiet, 1 waiting. Resume them on Workers" in page
    assert "1 live (1 quiet)" in page
    found = api("viewer").get("queues/default/backlog/").json()
    assert (found["workers"], found["quiet_workers"]) == (1, 1)
    services.heartbeat([line.worker], [{"quiet": False}])
    page = text(operator.get("/queues/default/").content.decode())
    assert "quiet" not in page


def test_a_queue_shows_its_states_and_leads_to_its_oldest_job(operator: Client, line: Line) -> None:
    line.dead()
    oldest = line.pending()
    line.pending()
    earlier = {"$set": {"enqueued_at": mongodb.now() - timedelta(minutes=4)}}
    collection("jobs").update_one({"_id": services.ObjectId(oldest)}, earlier)
    counts.forget()
    page = operator.get("/queues/default/").content.decode()
    cards = re.findall(
        r'href="/jobs/\?status=(\w+)&amp;queue=default">.*?figure">(\d+)<', page, re.S
    )
    assert {name: jobs for name, jobs in cards if jobs != "0"} == {"dead": "1", "pending": "2"}
    assert f'<a href="/jobs/{oldest}/"><span class="aged is-late">' in page
    assert page.count("<figure") == 3


def test_pausing_asks_why(operator: Client, line: Line) -> None:
    line.pending()
    assert 'name="reason"' in operator.get("/queues/default/pause/").content.decode()
    refused = operator.post("/queues/default/pause/", {"reason": " "})
    assert refused.status_code == 400
    assert "This field is required" in refused.content.decode()
    assert (
        operator.post("/queues/default/pause/", {"reason": "x", "seconds": "7"}).status_code == 400
    )
    assert services.paused_queues() == set()


def test_pause_and_resume(operator: Client, line: Line) -> None:
    line.pending()
    asked = {"reason": "deploying", "seconds": "900", "next": "/queues/"}
    page = text(operator.post("/queues/default/pause/", asked, follow=True).content.decode())
    assert "Queue default is paused" in page
    assert re.search(r"by operator-\w+: deploying. It resumes by itself", page)
    assert services.paused_queues() == {"default"}
    lasts = selectors.queue("default").paused_until - mongodb.now()
    assert timedelta(minutes=14) < lasts <= timedelta(minutes=15)
    assert operator.post("/queues/default/resume/", **FRAGMENT).status_code == 200
    assert services.paused_queues() == set()


def test_an_unknown_queue(operator: Client, stores: str) -> None:
    assert operator.get("/queues/none/").status_code == 404
    assert operator.get("/queues/none/pause/").status_code == 404
    assert operator.post("/queues/none/pause/", {"reason": "x"}).status_code == 404
    assert "appears with its first job" in operator.get("/queues/").content.decode()
