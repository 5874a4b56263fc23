"""Queues are paused and resumed; it says by whom."""

from django.test import Client

from jobs import services
from tests.web.conftest import FRAGMENT, Line


def test_lanes_of_each_queue(operator: Client, line: Line) -> None:
    line.pending(queue="mail", priority="high")
    page = operator.get("/queues/").content.decode()
    assert 'id="queue-mail"' in page
    assert 'id="lane-mail-high"' in page


def test_pause_and_resume(operator: Client, line: Line) -> None:
    line.pending()
    answer = operator.post("/queues/default/pause/", {"next": "/queues/"}, follow=True)
    page = answer.content.decode()
    assert "Queue default is paused" in page
    assert "by operator-" in page
    assert services.paused_queues() == {"default"}
    assert operator.post("/queues/default/resume/", **FRAGMENT).status_code == 200
    assert services.paused_queues() == set()


def test_an_unknown_queue(operator: Client, stores: str) -> None:
    assert operator.post("/queues/none/pause/").status_code == 404
    assert "appears with its first job" in operator.get("/queues/").content.decode()
