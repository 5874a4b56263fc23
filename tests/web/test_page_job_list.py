"""The list of jobs: chips, tabs, suggestions, saved views, bulk, export."""

import csv
import json
import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from jobs import counts, selectors, services
from jobs.errors import InvalidRequest
from jobs.models import AuditEntry, SavedView
from tests.web.conftest import NAME, Line


def body(answer: object) -> str:
    return answer.content.decode()  # type: ignore[attr-defined, no-any-return]


def test_each_term_is_a_chip_whose_link_leaves_it_out(operator: Client, line: Line) -> None:
    page = body(operator.get("/jobs/", {"q": f"state:dead {NAME} nothing"}))
    assert f'<span class="mono">type:{NAME}</span>' in page
    assert '<span class="mono">error:nothing</span>' in page
    assert f'href="/jobs/?q={NAME}+nothing"' in page
    assert "No job matches." in page


def test_tabs_count_what_the_other_terms_leave(operator: Client, line: Line) -> None:
    line.dead()
    for _ in range(2):
        line.pending(tags=["blue"])
    services.recount()
    counts.forget()
    tabs = operator.get("/jobs/", {"q": "tag:blue state:dead"}).context["tabs"]
    shown = {tab.state: tab.count.jobs for tab in tabs}
    assert (shown["pending"], shown["dead"], shown[""]) == (2, 0, 2)
    assert [tab.address for tab in tabs if tab.is_current] == ["/jobs/?q=state%3Adead+tag%3Ablue"]


def test_the_older_parameters_are_terms(operator: Client, line: Line) -> None:
    answer = operator.get("/jobs/?status=dead&queue=mail&q=blue")
    assert 'value="state:dead queue:mail blue"' in body(answer)


def test_rows_show_key_args_masked(operator: Client, line: Line) -> None:
    line.pending(text="hello")
    page = body(operator.get("/jobs/"))
    assert '<span class="muted">text</span> hello' in page


def test_a_search_that_stopped_says_where(
    operator: Client, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs import search

    monkeypatch.setattr(search, "EXAMINED", 2)
    for _ in range(4):
        line.pending()
    page = body(operator.get("/jobs/?q=args.text:nothing"))
    assert "Searched 2 jobs, back to those of" in page
    assert "Search further back" in page
    assert "No job matches." not in page


def test_a_search_by_host_says_that_workers_are_forgotten(operator: Client, line: Line) -> None:
    said = "one is forgotten a day after its end"
    line.pending()
    assert said in body(operator.get("/jobs/?q=-worker:host.example"))
    assert said not in body(operator.get(f"/jobs/?q=-worker:{line.worker}"))
    asked = {"action": "cancel", "q": "-worker:host.example"}
    assert said in body(operator.post("/operations/preview/", asked))


# --- suggestions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stat", ["state:"]),
        ("state:de", ["state:dead"]),
        ("-state:de", ["-state:dead"]),
        ("priority:", ["priority:high", "priority:medium", "priority:low"]),
        ("queue:d", ["queue:default"]),
        ("worker:host", ["worker:host.example:7"]),
        ("tag:b", ["tag:blue"]),
        ("args.te", ["args.text:"]),
        (NAME[:6], [f"type:{NAME}"]),
        ("nope:", []),
    ],
)
def test_suggestions_fit_the_word_at_the_cursor(
    operator: Client, line: Line, text: str, words: list[str]
) -> None:
    line.pending(tags=["blue"])
    found = operator.get("/jobs/suggest/", {"q": text}).context["found"]
    assert [each.word for each in found] == words


def test_a_suggestion_replaces_its_word_alone(operator: Client, line: Line) -> None:
    answer = operator.get("/jobs/suggest/", {"q": "state:de queue:mail", "at": "8"})
    (each,) = answer.context["found"]
    assert (each.text, each.at) == ("state:dead queue:mail", 10)
    assert 'role="option"' in body(answer)
    for at in ("²", "1234x", "9" * 5000, "-1", ""):
        assert operator.get("/jobs/suggest/", {"q": "x", "at": at}).status_code == 200


# --- saved views --------------------------------------------------------------------------------


def test_views_are_saved_replaced_and_deleted_by_their_owner(
    operator: Client, client_of: Callable[..., Client]
) -> None:
    for query in ("state:dead", "state:dead age:>1h"):
        answer = operator.post("/jobs/views/", {"name": " Mine ", "q": query}, follow=True)
        assert "Saved as Mine." in body(answer)
    (view,) = SavedView.objects.all()
    assert view.query == "state:dead age:>1h"
    page = body(operator.get("/jobs/"))
    assert "/jobs/?q=state%3Adead%20age%3A%3E1h" in page
    other = client_of("operator")
    assert "Mine" not in body(other.get("/jobs/"))
    assert other.post(f"/jobs/views/{view.pk}/delete/").status_code == 404
    assert "is deleted" in body(operator.post(f"/jobs/views/{view.pk}/delete/", follow=True))
    assert not SavedView.objects.exists()


@pytest.mark.parametrize(
    ("name", "query"), [("", "x"), ("x" * 61, "x"), ("a\nb", "x"), ("a", ""), ("a", "age:1h")]
)
def test_a_view_that_makes_no_sense_is_refused(operator: Client, name: str, query: str) -> None:
    assert operator.post("/jobs/views/", {"name": name, "q": query}).status_code == 400
    assert not SavedView.objects.exists()


def test_nobody_keeps_more_than_thirty(stores: str) -> None:
    olga = User.objects.create_user("olga")
    for number in range(30):
        services.save_view(olga, f"view {number}", "state:dead")
    with pytest.raises(InvalidRequest, match="delete one first"):
        services.save_view(olga, "another", "state:dead")
    services.save_view(olga, "view 3", "state:pending")
    assert len(selectors.saved_views(olga)) == 30


# --- bulk ---------------------------------------------------------------------------------------


def preview(client: Client, action: str, **more: object) -> str:
    return body(client.post("/operations/preview/", {"action": action, **more}))


def token(page: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found, page
    return found[1]


def test_all_that_match_are_counted_by_state_and_type_and_moved(
    operator: Client, line: Line
) -> None:
    ids = [line.pending(tags=["blue"]), line.dead(tags=["blue"])]
    left = line.pending()
    page = preview(operator, "cancel", q="tag:blue", scope="all")
    assert "Cancel 2 jobs?" in page
    assert f'{NAME} <span class="muted">2</span>' in page
    operator.post("/operations/start/", {"token": token(page)})
    services.operate()
    assert {selectors.job(id).status for id in ids} == {"cancelled"}
    assert selectors.job(left).status == "pending"


def test_a_group_is_requeued_by_its_button(operator: Client, line: Line) -> None:
    alike, other = line.dead("no 1"), line.dead("other")
    page = body(operator.get("/dead/"))
    found = re.search(r'value="(requeue:[0-9a-f]{16})"', page)
    assert found
    group = next(
        drawn.group
        for drawn in operator.get("/dead/").context["groups"]
        if drawn.group.newest_error == "no 1"
    )
    asked = {"group": f"requeue:{group.fingerprint}", "q": "state:dead", "id": other}
    page = body(operator.post("/operations/preview/", {"action": "delete", **asked}))
    operator.post("/operations/start/", {"token": token(page)})
    services.operate()
    assert selectors.job(alike).status == "pending"
    assert selectors.job(other).status == "dead"


def test_many_are_confirmed_by_typing_how_many(
    operator: Client, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "TYPED_ABOVE", 1)
    ids = [line.dead(), line.dead()]
    page = preview(operator, "requeue", q="state:dead", scope="all")
    assert 'name="count" required' in page
    for typed in ("", "3", "two"):
        refused = operator.post("/operations/start/", {"token": token(page), "count": typed})
        assert refused.status_code == 400
        assert "Type how many jobs to requeue: 2." in body(refused)
    assert (
        operator.post("/operations/start/", {"token": token(page), "count": "2"}).status_code == 302
    )
    services.operate()
    assert {selectors.job(id).status for id in ids} == {"pending"}


def test_a_right_to_many_needs_the_right_to_one(
    operator: Client, client_of: Callable[..., Client], line: Line
) -> None:
    id = line.completed()
    assert operator.post("/operations/preview/", {"action": "delete"}).status_code == 403
    assert "Delete" not in body(operator.get("/jobs/"))
    admin = client_of("admin")
    page = preview(admin, "delete", q="state:completed", scope="all")
    assert operator.post("/operations/start/", {"token": token(page)}).status_code == 400
    assert admin.post("/operations/start/", {"token": token(page)}).status_code == 302
    assert selectors.job(id).status == "completed"


def test_an_operation_can_be_stopped_from_its_page(operator: Client, line: Line) -> None:
    line.dead()
    page = preview(operator, "requeue", q="state:dead", scope="all")
    address = operator.post("/operations/start/", {"token": token(page)})["Location"]
    assert "Stop</button>" in body(operator.get(address))


@pytest.mark.parametrize(
    "asked", [{"action": "explode"}, {"action": "cancel", "q": "age:1h"}, {"group": "requeue:x"}]
)
def test_a_preview_that_makes_no_sense_is_refused(operator: Client, asked: dict[str, str]) -> None:
    assert operator.post("/operations/preview/", asked).status_code == 400


# --- export -------------------------------------------------------------------------------------


def test_an_export_holds_what_matches_masked_and_is_audited(operator: Client, line: Line) -> None:
    id = line.dead("=1+1", tags=["blue"])
    line.pending()
    answer = operator.get("/jobs/export.ndjson?q=tag:blue")
    (row,) = [json.loads(each) for each in answer.getvalue().splitlines()]
    assert (row["id"], row["status"], row["error"]) == (id, "dead", "=1+1")
    assert set(row) >= {"payload", "result", "worker", "created_at"}
    assert answer["Content-Disposition"] == 'attachment; filename="jobs.ndjson"'
    answer = operator.get("/jobs/export.csv?q=tag:blue")
    header, cells = csv.reader(answer.getvalue().decode().splitlines())
    assert dict(zip(header, cells, strict=True))["error"] == "'=1+1"
    exports = [entry.detail for entry in AuditEntry.objects.filter(action="export")]
    assert exports == ["csv: {'query': 'tag:blue'}", "ndjson: {'query': 'tag:blue'}"]


def test_an_export_ends_at_its_limit(
    operator: Client, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "EXPORTED_MOST", 2)
    for _ in range(3):
        line.pending()
    assert len(operator.get("/jobs/export.ndjson").getvalue().splitlines()) == 2


def test_an_export_of_nothing_known_is_refused(operator: Client) -> None:
    assert operator.get("/jobs/export.xml").status_code == 404
    assert operator.get("/jobs/export.csv?q=age:1h").status_code == 400
    assert not AuditEntry.objects.filter(action="export").exists()


# --- groups -------------------------------------------------------------------------------------


def test_a_group_has_a_page_with_its_letters_and_a_note(operator: Client, line: Line) -> None:
    id = line.dead("no route to 10.0.0.1")
    other = line.dead("something else")
    group = next(
        drawn.group
        for drawn in operator.get("/dead/").context["groups"]
        if drawn.group.newest_error.startswith("no route")
    )
    address = f"/dead/groups/{group.fingerprint}/"
    page = body(operator.get(address))
    assert f'id="dead-{id}"' in page
    assert f'id="dead-{other}"' not in page
    operator.post(f"{address}note/", {"note": "see INC-7"})
    assert "see INC-7" in body(operator.get(address))
    assert "see INC-7" in body(operator.get("/dead/"))
    operator.post(f"/jobs/{id}/requeue/")
    assert operator.get(address).status_code == 404
    assert operator.get("/dead/groups/nope/").status_code == 404
