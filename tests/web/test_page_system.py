"""The page of the system, and its twin in the API."""

from collections.abc import Callable

import pytest
from bson import ObjectId
from django.core.management import call_command
from django.test import Client

from jobs import services, snapshot, versions
from jobs.clients import collection
from tests.web.actors import api
from tests.web.conftest import Line


def steward(leading: bool = True) -> ObjectId:
    ages = {"repair": {"seconds": 1.0, "failing": False}}
    facts = {"host": "host.example", "pid": 9, "leading": leading}
    services.report_steward(id := ObjectId(), ages, **facts)
    return id


def text(client: Client) -> str:
    answer = client.get("/system/")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_it_shows_both_stores_with_their_versions(viewer: Client) -> None:
    shown = text(viewer)
    version = collection("jobs").database.client.server_info()["version"]
    assert f"<dt>Version</dt><dd>{version}</dd>" in shown
    assert shown.count("</svg> up</span>") == 2
    assert versions.own() in shown


def test_without_a_steward_it_says_what_that_means(viewer: Client) -> None:
    assert "None in the last day." in text(viewer)
    steward(leading=False)
    assert "No steward leads." in text(viewer)


def test_a_chore_that_is_late_or_fails_is_marked(viewer: Client) -> None:
    id = steward()
    assert "too long ago" not in text(viewer)
    services.report_steward(
        id,
        {"repair": {"seconds": 45.0, "failing": False}, "count": {"seconds": 1, "failing": True}},
        host="host.example",
        pid=9,
        leading=True,
    )
    shown = text(viewer)
    assert "too long ago" in shown
    assert "its store does not answer" in shown


def test_workers_of_another_version_are_flagged(viewer: Client, line: Line) -> None:
    assert "1 with 9.9 <strong>(another)</strong>" in text(viewer)


def test_the_counts_are_compared_and_the_last_audit_is_dated(
    viewer: Client, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.dead()
    snapshot.forget()
    assert "<dt>Difference</dt><dd>none</dd>" in text(viewer)
    assert "<dt>Last full audit</dt><dd>never</dd>" in text(viewer)
    call_command("audit")
    assert "nothing wrong" in text(viewer)
    collection("jobs").delete_many({})
    snapshot.forget()
    assert "<dt>Difference</dt><dd>1: " in text(viewer)


def test_the_api_says_the_same(line: Line) -> None:
    id = steward()
    answer = api("viewer").get("system/").json()  # type: ignore[attr-defined]
    mongodb, redis = answer["stores"]
    assert (mongodb["name"], mongodb["up"], redis["name"], redis["up"]) == (
        *("MongoDB", True),
        *("Redis", True),
    )
    assert mongodb["round_trip_ms"] > 0
    assert redis["memory"] > 0
    assert answer["drift"]["difference"] == 0
    (said,) = answer["stewards"]
    assert (said["id"], said["leading"], said["live"]) == (str(id), True, True)
    assert answer["worker_versions"] == [{"version": "9.9", "workers": 1, "same": False}]
    assert {"READ_ONLY", "JOB_RETENTION_DAYS"} <= {each["name"] for each in answer["settings"]}


def test_who_has_no_role_sees_nothing_of_it(client_of: Callable[..., Client]) -> None:
    assert client_of("").get("/system/").status_code == 403
