"""GET /api/v1/jobs/."""

import pytest
from pymongo.errors import ExecutionTimeout

from jobs import search, selectors
from jobs.errors import StoreDown
from tests.web.actors import api, dead, fields, problem, submitted

pytestmark = pytest.mark.usefixtures("stores")


def test_pages_hold_every_job_once_newest_first_while_others_arrive() -> None:
    caller = api("viewer")
    ids = [submitted() for _ in range(5)]
    first = caller.get("jobs/", limit=2).json()
    submitted()
    second = caller.get("jobs/", limit=2, cursor=first["next"]).json()
    third = caller.get("jobs/", limit=2, cursor=second["next"]).json()
    seen = [job["id"] for page in (first, second, third) for job in page["results"]]
    assert seen == ids[::-1]
    assert third["next"] is None


def test_each_filter_narrows_the_list() -> None:
    caller = api("viewer")
    ids = {
        "dead": dead(),
        "low": submitted(priority="low"),
        "mail": submitted(queue="mail"),
        "tagged": submitted(tags=["x1"]),
    }
    narrowed = {
        "dead": {"status": "dead"},
        "low": {"priority": "low"},
        "mail": {"queue": "mail"},
        "tagged": {"q": "x1"},
    }
    for name, query in narrowed.items():
        found = caller.get("jobs/", **query).json()["results"]
        assert [job["id"] for job in found] == [ids[name]], query
    assert len(caller.get("jobs/", type="send_email").json()["results"]) == 4
    assert caller.get("jobs/", type="resize_image").json() == {
        "results": [],
        "next": None,
        "searched_to": None,
    }


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status[$ne]": "dead"}, "status[$ne]"),
        ({"colour": "red"}, "colour"),
        ({"status": "nope"}, "status"),
        ({"status": ["dead", "pending"]}, "status"),
        ({"priority": '{"$gt": ""}'}, "priority"),
        ({"type": '{"$gt": ""}'}, "type"),
        ({"q": "$where"}, "q"),
        ({"queue": "a\0b"}, "queue"),
        ({"cursor": "nope"}, "cursor"),
        ({"cursor": "AAAA"}, "cursor"),
        ({"cursor": "é" * 20}, "cursor"),
        ({"cursor": "x" * 5000}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": ""}, "limit"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(query: dict[str, object], field: str) -> None:
    assert fields(api("viewer").get("jobs/", **query)) == [field]


def test_a_list_leaves_the_large_parts_to_the_job_itself() -> None:
    submitted()
    (job,) = api("viewer").get("jobs/").json()["results"]
    assert not {"payload", "result", "attempts"} & set(job)


def test_a_question_that_takes_too_long_says_how_to_ask_a_shorter_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(*_: object, **__: object) -> None:
        raise StoreDown("slow") from ExecutionTimeout("operation exceeded time limit")

    monkeypatch.setattr(selectors, "jobs", slow)
    answer = problem(api("viewer").get("jobs/"), 503)
    assert answer["code"] == "too_slow"
    assert "Narrow" in answer["detail"]


@pytest.mark.parametrize("query", ["age:<999999w", "-age:>999999d", "age:<20000d"])
def test_an_age_beyond_every_calendar_finds_what_there_is(query: str) -> None:
    id = submitted()
    assert [job["id"] for job in api("viewer").get("jobs/", query=query).json()["results"]] == [id]


def test_the_query_narrows_the_list_and_a_preview() -> None:
    caller = api("operator")
    id, other = dead(queue="mail"), submitted(tags=["x1"])
    for query in (
        "state:dead",
        'args.to:"*@example.org" -tag:x1',
        "error:boom",
        "queue:mail age:<1h",
    ):
        found = caller.get("jobs/", query=query).json()["results"]
        assert [job["id"] for job in found] == [id], query
    asked = {"action": "cancel", "filter": {"query": "-state:dead"}}
    preview = caller.post("operations/preview/", asked).json()
    assert [job["id"] for job in preview["sample"]] == [other]
    assert preview["by_type"] == {"send_email": 1}


def test_a_bad_query_says_where_and_what_to_do() -> None:
    answer = api("viewer").get("jobs/", query="type:send_email age:1h")
    (fault,) = problem(answer, 400)["errors"]
    assert fault["field"] == "query"
    assert fault["message"].startswith("at 21: age wants")
    body = {"action": "cancel", "filter": {"query": "colour:red"}}
    assert fields(api().post("operations/preview/", body)) == ["query"]


def test_secret_fields_are_searched_with_the_right_alone() -> None:
    submitted()
    assert fields(api("operator").get("jobs/", query="args.password:x")) == ["query"]
    assert api("admin").get("jobs/", query="args.password:x").json()["results"] == []


def test_a_search_that_stops_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "EXAMINED", 2)
    caller, old = api("viewer"), submitted(priority="low")
    for _ in range(3):
        submitted()
    first = caller.get("jobs/", query="priority:low").json()
    assert first["results"] == []
    assert first["searched_to"]
    second = caller.get("jobs/", query="priority:low", cursor=first["next"]).json()
    assert [job["id"] for job in second["results"]] == [old]
    assert second["searched_to"] is None
