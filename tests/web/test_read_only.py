"""READ_ONLY=1: everything can be read, nothing can be changed, and workers go on."""

from collections.abc import Callable

import pytest
from bson import ObjectId
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings

from jobs import repository, selectors, services
from tests.web.actors import MAIL, api, dead, problem, submitted, user

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture(autouse=True)
def _read_only(stores: str, settings: Settings) -> None:
    settings.READ_ONLY = True


def test_the_api_refuses_every_change_and_says_why() -> None:
    id, caller = dead(), api("admin")
    for path in ("jobs/", "jobs/bulk/", f"jobs/{id}/requeue/", "queues/default/pause/", "nope/"):
        assert problem(caller.post(path), 403)["code"] == "read_only", path
    assert caller.get(f"jobs/{id}/").json()["status"] == "dead"


def test_pages_carry_a_banner_and_no_button(client_of: Callable[..., Client]) -> None:
    id, admin = dead(), client_of("admin")
    for path in ("/", "/jobs/", "/dead/", "/queues/", f"/jobs/{id}/"):
        page = admin.get(path).content.decode()
        assert "Changes are switched off" in page, path
        assert "formaction" not in page, path
        assert "/jobs/new/" not in page, path
    for path in (f"/jobs/{id}/requeue/", "/jobs/new/", "/queues/default/pause/", "/tokens/"):
        answer = admin.post(path)
        assert answer.status_code == 403
        assert "Changes are switched off" in answer.content.decode(), path
    assert admin.get("/jobs/new/").status_code == 403
    assert selectors.job(id).status == "dead"


def test_the_admin_changes_nothing_either() -> None:
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    assert root.get("/admin/").status_code == 200
    assert root.post("/admin/auth/user/add/", {"username": "eve"}).status_code == 403
    assert root.post("/admin/password_change/", {}).status_code == 403
    assert not User.objects.filter(username="eve").exists()


def test_people_log_in_and_out() -> None:
    user("viewer", "olga")
    olga = User.objects.get(username="olga")
    olga.set_password("correct horse battery")
    olga.save()
    client = Client()
    right = {"username": "olga", "password": "correct horse battery"}
    assert client.post("/login/", right)["Location"] == "/"
    assert client.get("/").status_code == 200
    assert client.post("/logout/").status_code == 302


def test_the_command_submits_nothing() -> None:
    with pytest.raises(CommandError, match="READ_ONLY"):
        call_command("enqueue", "send_email", payload='{"to": "a@example.org", "subject": "Hi"}')
    assert selectors.jobs(selectors.JobFilter()).jobs == []


def test_workers_go_on() -> None:
    id, worker = submitted(), ObjectId()
    (job,) = repository.claim([ObjectId(id)], worker)
    services.record(worker, [services.completion(job, started=0.0, ended=1.0)])
    assert selectors.job(id).status == "completed"
    assert services.enqueue("send_email", MAIL)  # as a handler does that submits the next job
