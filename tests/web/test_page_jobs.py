"""The list of jobs, its filters and pages; one job; what may be done to it."""

import pytest
from django.test import Client
from django.test.utils import override_script_prefix

from jobs import selectors, services, snapshot
from jobs.requests import Request
from jobs.templatetags import job_tags
from tests.web.conftest import FRAGMENT, HOSTILE, NAME, Line, changes


def test_filters_are_in_the_address(operator: Client, line: Line) -> None:
    mail, other = line.pending(queue="mail", tags=["blue"]), line.pending(priority="low")
    for query in ("queue=mail", "q=blue", f"q={mail}", "priority=medium&status=pending"):
        page = operator.get(f"/jobs/?{query}").content.decode()
        assert f'id="job-{mail}"' in page, query
        assert f'id="job-{other}"' not in page, query


def test_no_match_says_so(operator: Client, line: Line) -> None:
    assert "No job matches." in operator.get("/jobs/?q=nothing").content.decode()


def test_a_bad_query_is_explained_where_it_is_and_kept(operator: Client) -> None:
    answer = operator.get("/jobs/", {"q": "state:dead age:1h"})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert 'value="state:dead age:1h"' in page
    assert "at 16: age wants" in page
    assert "every 2s" not in page


def test_pages_lead_older_and_newer(operator: Client, probe: str) -> None:
    ids = services.enqueue_many([Request(type=NAME, payload={}) for _ in range(120)])
    newest = list(reversed(ids))
    first = operator.get("/jobs/").context["page"]
    second = operator.get("/jobs/", {"cursor": first.next_cursor})
    third = operator.get("/jobs/", {"cursor": second.context["page"].next_cursor})
    assert [str(job.id) for job in third.context["page"].jobs] == newest[100:]
    assert third.context["page"].next_cursor is None
    back = operator.get("/jobs/", {"cursor": third.context["newer"]})
    assert [str(job.id) for job in back.context["page"].jobs] == newest[50:100]
    assert back.context["newer"] == ""
    assert "every 2s" not in back.content.decode()


def test_a_row_is_rendered_again_only_once_its_job_has_moved(operator: Client, line: Line) -> None:
    dead, other = line.dead(), line.dead()

    def rendered() -> int:
        """How many rows the pages that show both jobs take the trouble for."""
        before = job_tags.rendered_row.cache_info().misses
        for path in ("/jobs/", "/dead/", "/"):
            operator.get(path)
        return job_tags.rendered_row.cache_info().misses - before

    assert rendered() == 6
    assert rendered() == 0
    services.requeue(dead, actor="ops")
    snapshot.forget()
    assert rendered() == 2  # of this job: among all, and on the overview
    page = operator.get("/jobs/").content.decode()
    assert "is-pending" in page.partition(f'id="job-{dead}"')[2].partition("</tr>")[0]
    assert "is-dead" in page.partition(f'id="job-{other}"')[2].partition("</tr>")[0]


def test_a_remembered_row_links_to_where_the_site_is_mounted(operator: Client, line: Line) -> None:
    link = f"/jobs/{line.dead()}/"
    for mounted in ("", "/queue"):
        with override_script_prefix(f"{mounted}/"):
            page = operator.get("/jobs/").content.decode()
        assert f'href="{mounted}{link}"' in page


def test_a_job_shows_its_attempts_payload_and_result(operator: Client, line: Line) -> None:
    id = line.completed(result={"bytes": 12}, text="hello")
    page = operator.get(f"/jobs/{id}/").content.decode()
    assert "&quot;text&quot;: &quot;hello&quot;" in page
    assert "&quot;bytes&quot;: 12" in page
    assert "host.example:7" in page
    assert f"/api/v1/jobs/{id}/" in page


def test_a_retrying_job_says_when_and_why(operator: Client, line: Line) -> None:
    id = line.failed("no route to host")
    page = operator.get(f"/jobs/{id}/").content.decode()
    assert 'data-manner="until"' in page
    assert "no route to host" in page
    assert "<summary>Traceback</summary>" in page


def test_the_poll_ends_with_a_job_that_nobody_can_move(operator: Client, line: Line) -> None:
    done, runs, dead, cancelled = line.completed(), line.running(), line.dead(), line.pending()
    services.cancel(cancelled, actor="ada")
    assert "every 2s" not in operator.get(f"/jobs/{done}/").content.decode()
    assert operator.get(f"/jobs/{done}/", **FRAGMENT).status_code == 286
    for id in (runs, dead, cancelled):
        assert "every 2s" in operator.get(f"/jobs/{id}/").content.decode()
        assert operator.get(f"/jobs/{id}/", **FRAGMENT).status_code == 200


@pytest.mark.parametrize("id", ["0" * 24, "nonsense", "%00"])
def test_no_such_job(operator: Client, id: str) -> None:
    answer = operator.get(f"/jobs/{id}/")
    assert answer.status_code == 404
    assert "There is no job" in answer.content.decode()
    assert operator.post(f"/jobs/{id}/requeue/").status_code in (400, 404)


def test_requeue_from_a_form(operator: Client, line: Line) -> None:
    id = line.dead()
    answer = operator.post(f"/jobs/{id}/requeue/", {"next": f"/jobs/{id}/"}, follow=True)
    assert f"Job {id} is pending again." in answer.content.decode()
    assert selectors.job(id).status == "pending"
    assert changes() == ["requeue"]


def test_a_conflict_is_explained_where_it_happened(operator: Client, line: Line) -> None:
    id = line.completed()
    answer = operator.post(f"/jobs/{id}/requeue/", {"next": "/dead/"}, follow=True)
    assert answer.redirect_chain[0][0] == "/dead/"
    assert "Nothing was changed. The job is completed" in answer.content.decode()
    answer = operator.post(f"/jobs/{id}/requeue/", **FRAGMENT)
    assert answer.status_code == 409
    assert "Nothing was changed." in answer.content.decode()


def test_an_action_by_script_answers_with_its_message(operator: Client, line: Line) -> None:
    answer = operator.post(f"/jobs/{line.dead()}/requeue/", **FRAGMENT)
    assert answer.status_code == 200
    assert answer["HX-Trigger"] == '{"refresh": {}}'
    assert "<html" not in answer.content.decode()


def test_cancel_asks_first(operator: Client, line: Line) -> None:
    id = line.pending()
    assert "Cancel this job?" in operator.get(f"/jobs/{id}/cancel/").content.decode()
    assert selectors.job(id).status == "pending"
    operator.post(f"/jobs/{id}/cancel/")
    assert selectors.job(id).status == "cancelled"


def test_only_what_was_asked_about_is_cancelled(operator: Client, line: Line) -> None:
    id = line.dead()
    page = operator.get(f"/jobs/{id}/cancel/").content.decode()
    assert "Discard this job?" in page
    assert 'name="seen" value="dead"' in page
    services.requeue(id, actor="bob")
    answer = operator.post(f"/jobs/{id}/cancel/", {"seen": "dead"}, follow=True)
    assert "Nothing was changed." in answer.content.decode()
    assert selectors.job(id).status == "pending"
    assert operator.post(f"/jobs/{id}/cancel/", {"seen": "a\x00"}).status_code == 302
    assert selectors.job(id).status == "pending"


def test_what_cannot_be_cancelled_offers_no_button(operator: Client, line: Line) -> None:
    page = operator.get(f"/jobs/{line.completed()}/cancel/").content.decode()
    assert "nothing left to cancel" in page
    assert 'class="danger"' not in page


def test_tags_of_a_job_lead_to_its_kin(operator: Client, line: Line) -> None:
    page = operator.get(f"/jobs/{line.pending(tags=['blue'], text=HOSTILE)}/").content.decode()
    assert 'href="/jobs/?q=blue"' in page
