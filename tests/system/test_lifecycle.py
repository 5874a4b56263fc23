"""By API with a token: each of the four types, at each priority, ends with a true result."""

from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import override_settings
from PIL import Image
from pytest_django.plugin import DjangoDbBlocker

from jobs.clients import collection
from tests.web.actors import Api, user

PRIORITIES = ("high", "medium", "low")
RECORDS = [{"city": "Oslo", "n": 1}, {"city": "Rome", "n": 2}, {"city": "Oslo", "n": 6}]
AGGREGATE = {"field": "n", "group_by": "city", "function": "mean"}


@pytest.fixture
def service(stores: str, django_db_blocker: DjangoDbBlocker, tmp_path: Path) -> Iterator[Api]:
    """A program with an operator's token; its files are where the workers keep theirs."""
    with django_db_blocker.unblock(), override_settings(MEDIA_ROOT=tmp_path / "files"):
        yield Api(user("operator"))


@pytest.fixture
def run(service: Api, tree: Callable[..., Any], until: Callable[..., Any]) -> Callable[..., Any]:
    """Submit a payload at each priority and return the jobs once all have ended."""

    def submit(type: str, payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        requests = zip(PRIORITIES, payloads, strict=True)
        ids = []
        for priority, payload in requests:
            asked = {"type": type, "payload": payload, "priority": priority}
            answer = service.post("jobs/", asked)
            assert (answer.status_code, answer.json()["priority"]) == (201, priority)
            ids.append(answer.json()["id"])
        tree("--processes", "3")

        def jobs() -> list[dict[str, Any]]:
            return [service.get(f"jobs/{id}/").json() for id in ids]

        until(lambda: all(job["status"] in ("completed", "dead") for job in jobs()))
        ended = jobs()
        assert [job["status"] for job in ended] == ["completed"] * 3, ended
        assert [job["priority"] for job in ended] == list(PRIORITIES)
        return ended

    return submit


def test_an_email_is_written_to_the_outbox(run: Callable[..., Any], tmp_path: Path) -> None:
    payloads = [
        {"to": f"{p}@example.org", "subject": f"To {p}", "body": "Grüße"} for p in PRIORITIES
    ]
    jobs = run("send_email", payloads)
    texts = [path.read_bytes() for path in (tmp_path / "outbox").iterdir()]
    mails = [message_from_bytes(text, policy=policy.default) for text in texts]
    sent = {mail["Message-ID"]: mail for mail in mails}
    assert len(sent) == 3
    for job, payload in zip(jobs, payloads, strict=True):
        mail = sent[job["result"]["message_id"]]
        assert (mail["To"], mail["Subject"]) == (payload["to"], payload["subject"])
        assert "Grüße" in mail.get_content()


def test_an_image_has_the_size_that_was_asked_for(run: Callable[..., Any]) -> None:
    sizes = [(64, 48), (300, 300), (48, 640)]
    for job, size in zip(
        run("resize_image", [{"width": w, "height": h} for w, h in sizes]), sizes, strict=True
    ):
        with default_storage.open(job["result"]["file"]) as file, Image.open(file) as image:
            assert image.size == size


def test_a_reports_counts_are_those_of_mongodb(run: Callable[..., Any]) -> None:
    payload = {"title": "Tonight", "report_type": "summary", "hours": 1}
    for job in run("generate_report", [payload] * 3):
        result = job["result"]
        assert result["jobs"] == collection("jobs").count_documents({}) == 3
        assert sum(result["by_status"].values()) == 3
        page = default_storage.open(result["html"]).read().decode()
        assert "Tonight" in page
        rows = default_storage.open(result["csv"]).read().decode().splitlines()
        for status, count in result["by_status"].items():
            assert any(status in row and str(count) in row for row in rows)


def test_the_numbers_are_right(run: Callable[..., Any]) -> None:
    jobs = run(
        "process_data",
        [
            {"action": "aggregate", "records": RECORDS, **AGGREGATE},
            {"action": "filter", "records": RECORDS, "field": "n", "operator": "gt", "value": 1},
            {"action": "deduplicate", "records": RECORDS, "keys": ["city"]},
        ],
    )
    mean, large, cities = (job["result"] for job in jobs)
    assert {group["group"]: group["value"] for group in mean["groups"]} == {"Oslo": 3.5, "Rome": 2}
    assert large["records"] == RECORDS[1:]
    assert cities["records"] == RECORDS[:2]
