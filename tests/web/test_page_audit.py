"""The audit can be narrowed, turned over, exported and read by programs, by those who may."""

import csv
import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.test import Client

from jobs import audit, mongodb, origin, selectors, services, tokens
from tests.web.actors import submitted, user

FORMULA = "=HYPERLINK(1)"


@pytest.fixture
def admin(client_of: Callable[..., Client]) -> Client:
    client = client_of("admin")
    audit.record("ada", "pause", "mail")
    audit.record("bo", "requeue", "mail", detail=FORMULA)
    audit.refuse("bo", "refused", "POST /queues/mail/pause/", route="queue_pause")
    return client


def exported(client: Client, form: str, query: str = "") -> str:
    answer = client.get(f"/audit/export.{form}{query}")
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?actor=bo", ["refused", "requeue"]),
        ("?action=pause", ["pause"]),
        ("?target=mail", ["requeue", "pause"]),
        ("?refused=yes", ["refused"]),
        ("?actor=bo&refused=no", ["requeue"]),
        ("?actor=nobody-has-this-name", []),
        ("?actor=ada&since=2020-01-01T00:00:00Z", ["pause"]),
        ("?actor=ada&until=2020-01-01T00:00:00Z", []),
    ],
)
def test_a_filter_narrows_page_api_and_export_alike(
    admin: Client, query: str, found: list[str]
) -> None:
    api = admin.get(f"/api/v1/audit/{query}").json()["results"]
    assert [entry["action"] for entry in api] == found
    lines = exported(admin, "ndjson", query).splitlines()
    assert [json.loads(line)["action"] for line in lines] == found
    rows = list(csv.DictReader(StringIO(exported(admin, "csv", query))))
    assert [row["action"] for row in rows] == found
    page = admin.get(f"/audit/{query}").content.decode()
    assert page.count('<tr id="entry-') == len(found)


def test_pages_are_turned_over_by_cursor(admin: Client) -> None:
    first = admin.get("/api/v1/audit/?limit=2").json()
    second = admin.get(f"/api/v1/audit/?limit=100&cursor={first['next']}").json()
    seqs = [entry["seq"] for entry in first["results"] + second["results"]]
    assert seqs == list(range(len(seqs), 0, -1))
    assert second["next"] is None


def test_a_formula_is_text_in_a_spreadsheet(admin: Client) -> None:
    (row,) = csv.DictReader(StringIO(exported(admin, "csv", "?action=requeue")))
    assert row["detail"] == f"'{FORMULA}"


@pytest.mark.parametrize("query", ["?since=yesterday", "?refused=perhaps", "?cursor=x", "?who=ada"])
def test_what_is_no_filter_is_named(admin: Client, query: str) -> None:
    name = query[1:].split("=")[0]
    answer = admin.get(f"/api/v1/audit/{query}")
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [name]
    assert name in admin.get(f"/audit/{query}").content.decode()


def test_there_is_no_export_of_another_kind(admin: Client) -> None:
    assert admin.get("/audit/export.xml").status_code == 404


def test_an_entry_says_where_from_and_by_which_request(client_of: Callable[..., Client]) -> None:
    id = submitted()
    operator = client_of("operator")
    operator.post(f"/jobs/{id}/cancel/", headers={"X-Request-ID": "req-1"})
    entry = selectors.audit(selectors.AuditFilter(action="cancel")).entries[0]
    assert (entry.target, entry.request_id, entry.via) == (id, "req-1", "page")
    assert entry.address == "127.0.0.1"
    assert mongodb.now() - entry.at < timedelta(minutes=1)


def test_what_a_token_did_has_its_name(client_of: Callable[..., Client]) -> None:
    kept, token = tokens.issue(user("operator"))
    id = submitted()
    program = Client(headers={"Authorization": f"Token {token}"})
    program.post(f"/api/v1/jobs/{id}/cancel/", {}, "application/json")
    entry = selectors.audit(selectors.AuditFilter(action="cancel")).entries[0]
    assert entry.token == str(kept)
    assert not origin.current().token
    services.revoke_token(str(kept.pk), actor="ada")
