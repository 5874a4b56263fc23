"""The overview says how the queue is, in one sentence and a few numbers."""

import re

from django.test import Client

from jobs import selectors, services
from tests.web.conftest import Line


def _text(client: Client, path: str = "/") -> str:
    selectors.forget_stats()
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


def test_the_sentence_names_the_oldest_lane(operator: Client, line: Line) -> None:
    line.pending(queue="mail", priority="low")
    line.pending(queue="mail", priority="high")
    text = _text(operator)
    assert "1 worker live. 2 jobs wait; the oldest in mail/low" in text


def test_a_paused_queue_is_said(operator: Client, line: Line) -> None:
    line.pending()
    services.pause("default", actor="olga")
    assert "Queue default is paused." in _text(operator)


def test_every_number_leads_to_its_jobs(operator: Client, line: Line) -> None:
    line.completed()
    line.dead()
    line.failed()
    line.running()
    line.pending()
    line.pending(delay=60)
    selectors.forget_stats()
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
    selectors.forget_stats()
    page = operator.get("/").content.decode()
    widths = re.findall(r'class="fill" width="(\d+)"', page)
    assert widths == ["100", "0", "34"]
