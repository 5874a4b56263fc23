"""Django's admin looks, and revokes tokens; it changes nothing else."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pydantic import SecretStr

from jobs import registry, services, tokens
from jobs.models import ApiToken, Job
from tests.web.actors import Api, dead, submitted, user

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.parametrize("model", ["job", "worker", "queue", "auditentry", "apitoken"])
def test_every_list_opens_and_nothing_can_be_added(client: Client, model: str) -> None:
    services.requeue(dead(), actor="<b>x</b>")
    Api(user("viewer"))
    page = client.get(reverse(f"admin:jobs_{model}_changelist"))
    assert page.status_code == 200
    assert b"<b>x</b>" not in page.content
    assert client.get(reverse(f"admin:jobs_{model}_add")).status_code == 403


def test_a_job_is_shown_but_cannot_be_changed_or_deleted(client: Client) -> None:
    id = dead()
    address = reverse("admin:jobs_job_change", args=[id])
    page = client.get(address)
    assert page.status_code == 200
    assert b"Traceback: <b>" not in page.content
    assert client.post(address, {"status": "completed"}).status_code == 403
    assert client.post(reverse("admin:jobs_job_delete", args=[id])).status_code == 403
    assert Job.objects.get(pk=id).status == "dead"


def test_no_secret_of_a_job_is_shown_to_anybody(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_types", dict(registry._types))

    @registry.job(name="admin_login")
    def run(password: SecretStr, note: str = "plain") -> None: ...

    id = services.enqueue("admin_login", {"password": "hunter2-more"})
    Job.objects.filter(pk=id).update(result={"token": "tok-123456"})
    page = client.get(reverse("admin:jobs_job_change", args=[id])).content.decode()
    assert "admin_login" in page
    assert "hunter2" not in page
    assert "tok-123456" not in page


def test_the_list_filters_by_state_and_finds_a_type(client: Client) -> None:
    died, waits = dead(), submitted()
    page = client.get(reverse("admin:jobs_job_changelist"), {"status__exact": "dead"}).content
    assert died.encode() in page
    assert waits.encode() not in page
    found = client.get(reverse("admin:jobs_job_changelist"), {"q": "send_email"}).content
    assert waits.encode() in found


def test_a_token_can_be_revoked_and_its_digest_is_not_shown(client: Client) -> None:
    caller = Api(user("viewer"))
    (token,) = ApiToken.objects.all()
    page = client.get(reverse("admin:jobs_apitoken_change", args=[token.pk]))
    assert token.digest.encode() not in page.content
    chosen = {"action": "revoke", "_selected_action": [str(token.pk)]}
    assert client.post(reverse("admin:jobs_apitoken_changelist"), chosen).status_code == 302
    deleted = client.post(reverse("admin:jobs_apitoken_delete", args=[token.pk]), {"post": "yes"})
    assert deleted.status_code == 403
    assert caller.get("jobs/").status_code == 401


def test_the_admin_links_to_the_dashboard(client: Client) -> None:
    assert b'<a href="/">' in client.get("/admin/").content


def test_the_dashboard_and_the_admin_lead_to_each_other(client: Client) -> None:
    id, root = submitted(), User.objects.get(username="root")
    token, _ = tokens.issue(root)
    pairs = {
        f"/jobs/{id}/": f"/admin/jobs/job/{id}/change/",
        "/queues/default/": "/admin/jobs/queue/default/change/",
        "/tokens/": f"/admin/jobs/apitoken/{token.pk}/change/",
    }
    for dashboard, there in pairs.items():
        assert f'href="{there}"' in client.get(dashboard).content.decode(), dashboard
        assert f'href="{dashboard}"' in client.get(there).content.decode(), there
    of_user = client.get(f"/admin/auth/user/{root.pk}/change/").content.decode()
    assert 'href="/audit/?actor=root"' in of_user
