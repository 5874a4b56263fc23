"""The overview says how the queue is, in one sentence and a few numbers."""

import re
from datetime import timedelta

from bson import ObjectId
from django.test import Client
from pytest_django.fixtures import Settings

from jobs import counts, mongodb, services
from jobs.clients import collection
from jobs.tallies import Changes
from tests.web.conftest import Line


def _text(client: Client, path: str = "/") -> str:
    counts.forget()
    page = client.get(path).content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_an_empty_system_says_what_to_do(operator: Client) -> None:
    text = _text(operator)
    assert "No worker is live. Nothing waits." in text
    assert "Submit the first one" in text
    assert "manage.py runworkers" in text


def test_it_says_when_jobs_wait_and_nobody_works(operator: Client, probe: str) -> None:
    services.enqueue(probe, {})
    services.enqueue(probe, {})
    text = _text(operator)
    assert "No worker is live, and 2 jobs wait." in text
    assert "nothing that was accepted is lost" in text


def _wait(**which: str) -> None:
    earlier = {"$set": {"enqueued_at": mongodb.now() - timedelta(minutes=4)}}
    collection("jobs").update_many(which, earlier)


def test_what_waits_within_its_target_is_well(operator: Client, line: Line) -> None:
    line.pending()
    assert "1 worker is live. 1 job waits, within target." in _text(operator)
    assert 'class="health is-fine"' in operator.get("/").content.decode()


def test_the_sentence_names_the_lane_that_is_furthest_behind(
    operator: Client, line: Line, settings: Settings
) -> None:
    settings.QUEUE_TARGETS = {"default": {"": 120.0, "high": 10.0}}
    line.pending(priority="low")
    line.pending(priority="high")
    _wait(queue="default")
    text = _text(operator)
    assert re.search(r"default/high is behind: its oldest job .* UTC , its target is 10 s\.", text)
    assert "1 more lane is behind." in text


def test_a_queue_without_a_worker_is_said(operator: Client, line: Line) -> None:
    line.pending(queue="mail")
    assert "No live worker serves mail , where 1 job waits." in _text(operator)


def _quiet(worker: ObjectId) -> None:
    services.heartbeat([worker], [{"quiet": True}])


def test_jobs_that_wait_for_quiet_workers_are_not_well(operator: Client, line: Line) -> None:
    line.pending()
    _quiet(line.worker)
    text = _text(operator)
    assert "1 worker is live, but it is quiet, and 1 job waits. Resume it on Workers" in text
    assert "within target" not in text
    assert "default , where" not in text
    assert "host.example 1 live (1 quiet), 0 of 1 busy" in text
    page = operator.get("/").content.decode()
    assert 'class="health is-dead"' in page
    assert "its workers are quiet" in page
    _quiet(Line().worker)
    text = _text(operator)
    assert "2 workers are live, but all of them are quiet, and 1 job waits. Resume them on" in text


def test_quiet_workers_are_said_though_nothing_waits(operator: Client, line: Line) -> None:
    _quiet(line.worker)
    text = _text(operator)
    assert "1 worker is live, but it is quiet: resume it on Workers . Nothing waits." in text
    assert 'class="health is-warning"' in operator.get("/").content.decode()


def test_a_quiet_worker_beside_another_is_well_and_said(operator: Client, line: Line) -> None:
    line.pending()
    _quiet(Line().worker)
    text = _text(operator)
    assert "2 workers are live, 1 of them quiet. 1 job waits, within target." in text
    assert 'class="health is-fine"' in operator.get("/").content.decode()


def test_a_queue_whose_workers_are_quiet_is_said_beside_one_that_is_served(
    operator: Client, line: Line
) -> None:
    facts = {"host": "b", "pid": 8, "concurrency": 1, "version": "9.9"}
    services.register_worker(mail := ObjectId(), ["mail"], supervisor=ObjectId(), **facts)
    _quiet(mail)
    line.pending(queue="mail")
    line.pending(queue="other")
    text = _text(operator)
    assert "All workers that serve mail are quiet, and 1 job waits there: resume them on" in text
    assert "No live worker serves other , where 1 job waits." in text
    _quiet(line.worker)
    text = _text(operator)
    assert "2 workers are live, but all of them are quiet" in text
    assert "that serve mail are quiet" not in text
    assert "No live worker serves other , where 1 job waits." in text


def test_a_paused_queue_is_said_with_its_reason(operator: Client, line: Line) -> None:
    line.pending()
    services.pause("default", actor="olga", reason="deploying")
    assert "Queue default is paused: deploying." in _text(operator)


def test_a_card_says_how_its_number_came_to_be(operator: Client, line: Line) -> None:
    assert 'class="spark"' in (page := operator.get("/").content.decode())
    assert "<path" not in page.partition('id="card-dead"')[2].partition("</li>")[0]
    sample = {"by_status": {"dead": 3}, "pending": {}, "at": mongodb.now() - timedelta(minutes=9)}
    ages = {"report": {"seconds": 0.0, "failing": False}}
    services.report_steward(ObjectId(), ages, sample=sample, host="a", pid=1, leading=True)
    line.dead()
    counts.forget()
    card = operator.get("/").content.decode().partition('id="card-dead"')[2].partition("</li>")[0]
    assert '<path class="line" d="M0.0 0.0L60.0 16.0"/>' in card
    assert "−2" in card  # noqa: RUF001 - as it is shown
    assert "in 9 minutes" in card


def test_the_hour_is_drawn_and_written(operator: Client, line: Line) -> None:
    line.failed()
    page = operator.get("/").content.decode()
    assert page.count('<figure class="panel graph"') == 3
    assert page.count('<tr><th scope="row">') == 3 * 60
    assert len(re.findall(r"<span>\d\d:\d\d UTC</span></div>", page)) == 3
    assert page.count('<th scope="col">Minute, UTC</th>') == 3


def test_errors_lead_to_their_jobs(operator: Client, line: Line) -> None:
    now, changes = mongodb.now(), Changes()
    before = now - timedelta(minutes=1)
    for _ in range(2):
        changes.ended("mail", "send_email", "failed", at=before, error_type="KeyError")
    for name, more in changes.additions(now, 0):
        collection("tallies").update_one(name, {"$inc": more}, upsert=True)
    text = _text(operator)
    assert "KeyError send_email 2" in text
    assert (
        'href="/jobs/?q=type%3Asend_email%20error%3AKeyError"' in operator.get("/").content.decode()
    )


def test_every_number_leads_to_its_jobs(operator: Client, line: Line) -> None:
    line.completed()
    line.dead()
    line.failed()
    line.running()
    line.pending()
    line.pending(delay=60)
    counts.forget()
    page = operator.get("/").content.decode()
    cards = dict(re.findall(r'href="/jobs/(?:\?status=(\w+))?">.*?figure">([\d,]+)<', page, re.S))
    assert cards == {
        "": "6",
        **dict.fromkeys(("completed", "dead", "retrying", "running", "pending", "scheduled"), "1"),
        "cancelled": "0",
    }


def test_recent_jobs_are_filtered_by_state(operator: Client, line: Line) -> None:
    done, waits = line.completed(), line.pending()
    page = operator.get("/?status=completed").content.decode()
    assert f"recent-{done}" in page
    assert f"recent-{waits}" not in page


def test_lanes_show_depth_and_age(operator: Client, line: Line) -> None:
    for _ in range(3):
        line.pending(priority="high")
    line.pending(priority="low")
    counts.forget()
    page = operator.get("/").content.decode()
    depths = re.findall(r'class="depth[^"]*">(\d+)<', page)
    assert depths == ["3", "0", "1"]
