"""/healthz, /readyz and /metrics."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pymongo import MongoClient

from jobs import clients, counts, services
from jobs.clients import collection
from tests.web.actors import api, dead, problem, submitted

pytestmark = pytest.mark.usefixtures("stores")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def no_mongodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with MongoClient("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=100) as client:
        monkeypatch.setattr(clients, "mongo", lambda: client["away"])
        yield


def test_healthz_asks_no_store(no_mongodb: None, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_readyz_says_that_both_stores_answer() -> None:
    answer = Client().get("/readyz")
    body = answer.json()
    assert (answer.status_code, body["ready"], body["degraded"]) == (200, True, False)
    assert (body["mongodb"], body["redis"]) == ("ok", "ok")


def test_without_redis_it_is_ready_but_degraded(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = Client().get("/readyz")
    body = answer.json()
    assert (answer.status_code, body["degraded"], body["redis"]) == (200, True, "down")
    assert "safe in MongoDB" in body["meaning"]


def test_without_mongodb_it_is_not_ready(no_mongodb: None) -> None:
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["mongodb"]) == (503, "down")
    assert "127.0.0.1" not in answer.content.decode()


def test_without_an_index_it_is_not_ready() -> None:
    jobs = collection("jobs")
    lane = jobs.index_information()["lane"]
    jobs.drop_index("lane")
    answer = Client().get("/readyz")
    jobs.create_index(
        lane["key"], name="lane", partialFilterExpression=lane["partialFilterExpression"]
    )
    assert (answer.status_code, answer.json()["mongodb"]) == (503, "not migrated")


def test_only_reading_is_allowed() -> None:
    for path in ("/healthz", "/readyz"):
        assert Client().post(path).status_code == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_may_ask_by_any_name_and_gets_what_others_get(path: str, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["queue.example.org"]
    settings.SECURE_SSL_REDIRECT = True
    known = Client(headers={"host": "queue.example.org"}).get(path)
    for host in ("127.0.0.1:8000", "10.1.2.3:8000", "localhost", "not a name"):
        answer = Client(headers={"host": host}).get(path)
        assert answer.status_code == 200
        assert answer.headers.keys() == known.headers.keys()
        same = answer.headers.keys() - {"X-Request-ID", "Date", "Expires"}
        assert {name: answer[name] for name in same} == {name: known[name] for name in same}
        assert Client(headers={"host": host}).get(path + "/", secure=True).status_code == 400
        assert Client(headers={"host": host}).get("/login/", secure=True).status_code == 400


class Ready(BaseHTTPRequestHandler):
    """Answers whoever asks as the web process does."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("status", [200, 503])
def test_the_images_health_check_asks_past_a_proxy(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ready, "status", status)
    (written,) = re.findall(r"HEALTHCHECK .*\n +CMD (\[.*\])", (ROOT / "Dockerfile").read_text())
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _, *arguments = json.loads(written.replace(":8000", f":{server.server_port}"))
        env = {"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
        done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True)
        server.shutdown()
    assert (done.returncode == 0) == (status == 200), done.stderr


def numbers(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_metrics_are_the_numbers_of_the_queue() -> None:
    dead()
    submitted(queue="mail")
    services.pause("mail", actor="x")
    counts.forget()
    answer = api("viewer").client.get("/metrics", headers={"Accept": "text/plain;q=0.5,*/*;q=0.1"})
    assert answer["Content-Type"].startswith("text/plain; version=")
    found = numbers(answer.content.decode())
    assert found["taskqueue_jobs", ("dead",)] == 1
    assert found["taskqueue_lane_jobs", ("high", "mail")] == 1
    assert found["taskqueue_lane_oldest_age_seconds", ("high", "mail")] >= 0
    assert found["taskqueue_lane_oldest_age_seconds", ("low", "default")] == 0
    assert found["taskqueue_queue_paused", ("mail",)] == 1
    assert found["taskqueue_queue_paused", ("default",)] == 0
    assert found["taskqueue_workers", ("live",)] == 0
    assert [value for (name, _), value in found.items() if name == "taskqueue_build_info"] == [1]


def test_metrics_without_mongodb_are_a_503(stores: str, request: pytest.FixtureRequest) -> None:
    caller = api("viewer")  # before the outage: who gets a role is written down
    request.getfixturevalue("no_mongodb")
    counts.forget()
    assert problem(caller.client.get("/metrics"), 503)["code"] == "store_down"
