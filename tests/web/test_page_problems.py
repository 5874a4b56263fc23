"""What a page says when it cannot be shown, and that it needs no store to say it."""

from collections.abc import Callable
from typing import Any

import pytest
from bson import ObjectId
from django.db import DatabaseError
from django.template.loader import render_to_string
from django.test import Client
from pymongo.errors import ServerSelectionTimeoutError

from jobs import counts, mongodb, services
from jobs.clients import collection
from jobs.errors import StoreDown
from tests.web.conftest import FRAGMENT


@pytest.mark.parametrize("error", [StoreDown, DatabaseError, ServerSelectionTimeoutError])
def test_a_store_that_is_down(
    operator: Client, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse() -> None:
        raise error("no answer")

    monkeypatch.setattr(counts, "stats", refuse)
    answer = operator.get("/")
    page = answer.content.decode()
    assert answer.status_code == 503
    assert "Nothing that was accepted is lost" in page
    assert answer["Problem-Code"] == "store_down"
    assert 'href="/readyz"' in page
    assert answer["Retry-After"] == "5"
    assert operator.get("/", **FRAGMENT).status_code == 503


def test_a_question_that_takes_too_long_is_stopped_and_says_so(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.enqueue("process_data", {"action": "describe", "records": []})

    def slow() -> None:
        collection("jobs").find_one({"$where": "function() { while (true) {} }"}, max_time_ms=200)

    monkeypatch.setattr(counts, "stats", mongodb.repeated(slow))
    answer = operator.get("/")
    assert answer.status_code == 503
    assert "The question took too long" in answer.content.decode()
    assert answer["Problem-Code"] == "too_slow"


def test_a_preview_that_takes_too_long_says_so_and_leads_back(
    operator: Client, endless: None
) -> None:
    page = {"HTTP_REFERER": "http://testserver/jobs/?q=state%3Adead"}
    asked = {"action": "requeue", "q": "state:dead", "scope": "all"}
    answer = operator.post("/operations/preview/", asked, **page)
    assert answer.status_code == 503
    assert "The question took too long" in answer.content.decode()
    assert 'href="/jobs/?q=state%3Adead"' in answer.content.decode()


@pytest.mark.parametrize(
    ("method", "referer", "back"),
    [
        ("get", "", "/dead/?type=t&amp;x=1"),  # the very question
        ("post", "http://testserver/jobs/abc/?x=1", "/jobs/abc/?x=1"),
        ("post", "http://testserver//evil.example/", "/evil.example/"),
        ("post", "https://evil.example/jobs/", "/"),
        ("post", "http://[bad", "/"),
        ("post", "", "/"),
    ],
)
def test_try_again_leads_to_the_page_and_never_to_what_only_takes_a_form(
    operator: Client, monkeypatch: pytest.MonkeyPatch, method: str, referer: str, back: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreDown("no answer")

    monkeypatch.setattr(counts, "stats", refuse)
    monkeypatch.setattr(services, "requeue", refuse)
    path = "/dead/?type=t&x=1" if method == "get" else f"/jobs/{ObjectId()}/requeue/"
    answer = getattr(operator, method)(path, HTTP_REFERER=referer)
    assert answer.status_code == 503
    assert f'<a href="{back}">try again</a>' in answer.content.decode()


def test_nobody_can_log_in_without_the_store(
    stores: str, monkeypatch: pytest.MonkeyPatch, client_of: Callable[..., Client]
) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise DatabaseError("no answer")

    monkeypatch.setattr("django.contrib.auth.views.LoginView.post", refuse)
    assert client_of(None).post("/login/", {"username": "a", "password": "b"}).status_code == 503


def test_another_error_stays_an_error(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(counts, "stats", break_)
    operator.raise_request_exception = False
    answer = operator.get("/")
    assert answer.status_code == 500
    assert "This page failed" in answer.content.decode()


def test_unknown_addresses(operator: Client) -> None:
    answer = operator.get("/no/such/page/")
    assert answer.status_code == 404
    assert "No page has this address." in answer.content.decode()


def test_a_form_too_large_is_refused(operator: Client) -> None:
    fields = {f"f{n}": "x" for n in range(1500)}
    assert operator.post("/jobs/new/", fields).status_code == 400


@pytest.mark.parametrize("name", ["500.html", "503.html", "404.html", "403.html", "400.html"])
def test_the_pages_need_no_request_and_no_store(name: str) -> None:
    assert "<h1>" in render_to_string(name)
