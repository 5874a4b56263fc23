"""Dead letters: requeued one by one, as ticked, or all of a previewed, frozen set."""

import re

from django.test import Client

from jobs import selectors, services
from jobs.models import AuditEntry
from tests.web.conftest import Line


def _token(client: Client, query: str = "state:dead") -> str:
    asked = {"action": "requeue", "q": query}
    return _found_token(client.post("/operations/preview/", asked).content.decode())


def _found_token(page: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found, page
    return found[1]


def test_each_letter_says_why_it_died(operator: Client, line: Line) -> None:
    id = line.dead("no such mailbox")
    page = operator.get("/dead/").content.decode()
    assert f'id="dead-{id}"' in page
    assert "no such mailbox" in page


def test_filters(operator: Client, line: Line) -> None:
    mail, other = line.dead(queue="mail"), line.dead()
    page = operator.get("/dead/?queue=mail").content.decode()
    assert mail in page
    assert other not in page
    assert "No dead letter matches." in operator.get("/dead/?queue=empty").content.decode()


def test_an_empty_page_is_good_news(operator: Client, stores: str) -> None:
    assert "no job is out of attempts" in operator.get("/dead/").content.decode()


def test_bulk_takes_what_was_shown_and_nothing_later(operator: Client, line: Line) -> None:
    shown = [line.dead() for _ in range(3)]
    token = _token(operator)
    later = line.dead()
    answer = operator.post("/operations/start/", {"token": token}, follow=True)
    assert "Requeue 3 jobs" in answer.content.decode()
    assert services.operate() == 3
    address = answer.redirect_chain[-1][0]
    assert "3 of 3" in operator.get(address).content.decode()
    assert {selectors.job(id).status for id in shown} == {"pending"}
    assert selectors.job(later).status == "dead"
    actions = {entry.action for entry in AuditEntry.objects.all()}
    assert actions == {"login", "operation_start", "operation_complete"}


def test_bulk_keeps_to_its_filter(operator: Client, line: Line) -> None:
    mail, other = line.dead(queue="mail"), line.dead()
    token = _token(operator, "state:dead queue:mail")
    operator.post("/operations/start/", {"token": token})
    services.operate()
    assert selectors.job(mail).status == "pending"
    assert selectors.job(other).status == "dead"


def test_a_preview_changes_nothing(operator: Client, line: Line) -> None:
    id = line.dead()
    _token(operator)
    assert selectors.job(id).status == "dead"


def test_a_forged_token_is_refused(operator: Client, line: Line) -> None:
    id = line.dead()
    for token in ("", "x", _token(operator) + "x"):
        assert operator.post("/operations/start/", {"token": token}).status_code == 400
    assert selectors.job(id).status == "dead"


def test_the_ticked_are_requeued_and_no_other(operator: Client, line: Line) -> None:
    ticked, gone, left = line.dead(), line.completed(), line.dead()
    asked = {"action": "requeue", "scope": "ticked", "id": [ticked, gone, "0" * 24], "q": "x"}
    page = operator.post("/operations/preview/", asked).content.decode()
    assert "Requeue 1 job?" in page
    operator.post("/operations/start/", {"token": _found_token(page)})
    services.operate()
    assert selectors.job(ticked).status == "pending"
    assert selectors.job(left).status == "dead"


def test_nothing_ticked_is_said(operator: Client, stores: str) -> None:
    asked = {"action": "requeue", "scope": "ticked", "next": "/dead/"}
    answer = operator.post("/operations/preview/", asked, follow=True)
    assert answer.redirect_chain[0][0] == "/dead/"
    assert "Tick the jobs to requeue first." in answer.content.decode()


def test_discard_comes_back_to_the_list(operator: Client, line: Line) -> None:
    id = line.dead()
    page = operator.get(f"/jobs/{id}/cancel/?back=/dead/").content.decode()
    assert "Discard this job?" in page
    answer = operator.post(f"/jobs/{id}/cancel/", {"next": "/dead/"})
    assert answer["Location"] == "/dead/"
    assert selectors.job(id).status == "cancelled"
