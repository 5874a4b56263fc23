"""Workers say how they are, what they hold and why they ended; the audit says who did what."""

from collections.abc import Callable

from django.test import Client

from jobs import services
from jobs.clients import collection
from tests.web.conftest import Line


def test_a_live_worker_and_what_it_holds(operator: Client, line: Line) -> None:
    id = line.running()
    page = operator.get("/workers/").content.decode()
    assert "host.example:7" in page
    assert "9.9" in page
    assert "is-live" in page
    assert f'href="/jobs/{id}/"' in page


def test_an_ended_worker_says_why(operator: Client, line: Line) -> None:
    services.end_worker(line.worker, "stopped by SIGTERM")
    page = operator.get("/workers/").content.decode()
    assert "is-ended" in page
    assert "stopped by SIGTERM" in page


def test_a_lost_worker(operator: Client, line: Line) -> None:
    past = {"$subtract": ["$$NOW", 3_600_000]}
    collection("workers").update_one({"_id": line.worker}, [{"$set": {"heartbeat_at": past}}])
    assert "is-lost" in operator.get("/workers/").content.decode()


def test_no_worker_says_what_to_do(operator: Client, stores: str) -> None:
    assert "manage.py runworkers" in operator.get("/workers/").content.decode()


def test_the_audit(client_of: Callable[..., Client], line: Line) -> None:
    client = client_of("admin")
    assert "No entry matches." in client.get("/audit/?action=cancel").content.decode()
    services.cancel(line.pending(), actor="olga")
    page = client.get("/audit/").content.decode()
    assert "olga" in page
    assert "cancel" in page
