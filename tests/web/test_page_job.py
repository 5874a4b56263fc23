"""The page of one job, and what may be done from it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import ObjectId
from django.test import Client
from pydantic import SecretStr

from jobs import links, registry, rows, secrets, selectors, services
from jobs.clients import collection
from jobs.models import AuditEntry, Job
from tests.web.conftest import FRAGMENT, HOSTILE, NAME, Commands, Line, changes

SECRET = "sealed_probe"


@pytest.fixture
def sealed(stores: str) -> Iterator[str]:
    """A job type that takes a secret, and a dead job of it with an attempt."""

    @registry.job(name=SECRET)
    def run(to: str, password: SecretStr, note: str | int | None = None) -> None:
        raise AssertionError("a page must not run a job")

    id = services.enqueue(SECRET, {"to": "ada", "password": "hunter2-more", "note": "7"})
    collection("jobs").update_one({"_id": ObjectId(id)}, {"$set": {"status": "dead"}})
    yield id
    registry._types.pop(SECRET)


def shown(client: Client, id: str, path: str = "") -> str:
    return client.get(f"/jobs/{id}/{path}").content.decode()


# --- what became of it ------------------------------------------------------------------------


def test_its_life_is_a_line_and_a_list_linked_to_each_attempt(operator: Client, line: Line) -> None:
    page = shown(operator, line.dead())
    assert '<svg class="life"' in page
    assert 'href="#attempt-1"' in page
    assert 'id="attempt-1"' in page
    assert "failed after" in page
    assert "style=" not in page


def test_the_log_lines_of_an_attempt_are_text(operator: Client, line: Line) -> None:
    id = line.failed()
    logged = {"$set": {"attempts.0.logs": ["10:00:00 INFO shop: a line", HOSTILE]}}
    collection("jobs").update_one({"_id": ObjectId(id)}, logged)
    page = shown(operator, id)
    assert "Log, 2 lines" in page
    assert "INFO shop: a line" in page
    assert "<svg onload" not in page


def test_lineage_says_where_a_job_came_from(operator: Client, probe: str) -> None:
    answer = operator.post(
        "/jobs/new/",
        {"type": NAME, "payload.text": "x", "idempotency_key": "invoice-4711"},
        headers={"X-Request-ID": "trace-7"},
    )
    page = operator.get(answer["Location"]).content.decode()
    assert "invoice-4711" in page
    assert "trace-7" in page
    (job,) = Job.objects.all()
    assert (job.request_id, job.idempotency_key) == ("trace-7", "invoice-4711")


def test_jobs_that_failed_alike_are_listed_and_others_are_not(operator: Client, line: Line) -> None:
    alike, id = line.dead("one way"), line.dead("another way")
    other = line.dead()
    kind = {"$set": {"attempts.0.error_type": "OSError"}}
    collection("jobs").update_one({"_id": ObjectId(other)}, kind)
    found = [row.id for row in rows.similar(selectors.job(id))]
    assert found == [alike]
    page = shown(operator, id)
    assert f'id="similar-{alike}"' in page
    assert f'id="similar-{other}"' not in page
    assert "Failed alike" not in shown(operator, line.completed())


def test_those_that_failed_alike_take_one_question_for_each_state(
    operator: Client, line: Line, commands: Commands
) -> None:
    id = line.dead()
    asked = []
    for _ in range(2):
        line.dead()
        shown(operator, id)  # whoever looks first is read
        commands.names.clear()
        assert "Failed alike" in shown(operator, id)
        asked.append(len(commands.names))
    assert asked[0] == asked[1]


def test_a_payload_is_a_tree_and_as_json(operator: Client, line: Line) -> None:
    page = shown(operator, line.pending(HOSTILE))
    assert 'class="tree"' in page
    assert 'class="key">text' in page
    assert '<pre id="payload"' in page
    assert "<svg onload" not in page


def test_what_may_be_done_is_shown_as_code_too(operator: Client, line: Line) -> None:
    id = line.dead()
    page = shown(operator, id)
    assert f"manage.py job requeue {id}" in page
    assert f"/api/v1/jobs/{id}/requeue/" in page
    assert f"manage.py job run {id}" not in page
    waiting = line.pending()
    assert f"manage.py why {waiting}" in shown(operator, waiting)


def hook(job: Job) -> list[tuple[str, str]]:
    return [("Trace", f"https://traces.example/{job.id}"), ("Bad", "javascript:alert(1)")]


def broken_hook(job: Job) -> list[tuple[str, str]]:
    raise RuntimeError("the host's code is broken")


def test_the_hosts_own_links_are_shown_and_only_addresses_of_the_web(
    operator: Client, line: Line, settings: Any
) -> None:
    id = line.pending()
    settings.JOB_LINKS = f"{__name__}.hook"
    page = shown(operator, id)
    assert f'href="https://traces.example/{id}"' in page
    assert "javascript:" not in page
    for path in (f"{__name__}.broken_hook", "no.such.hook"):
        settings.JOB_LINKS = path
        assert links.links(selectors.job(id)) == []


# --- actions ----------------------------------------------------------------------------------


def test_run_now_makes_a_scheduled_job_pending(operator: Client, line: Line) -> None:
    id = line.pending(delay=3600)
    assert "Run now" in shown(operator, id)
    operator.post(f"/jobs/{id}/run/")
    job = Job.objects.get()
    assert (job.status, job.run_at) == ("pending", None)
    assert changes() == ["run"]
    assert operator.post(f"/jobs/{id}/run/", **FRAGMENT).status_code == 409
    assert "Run now" not in shown(operator, id)


def test_delete_asks_first_and_leads_to_the_list(
    client_of: Callable[..., Client], line: Line
) -> None:
    admin, id = client_of("admin"), line.dead()
    assert "Delete this job?" in shown(admin, id, "delete/")
    answer = admin.post(f"/jobs/{id}/delete/")
    assert answer["Location"] == "/jobs/"
    assert Job.objects.count() == 0
    waiting = line.pending()
    assert "only what has ended" in shown(admin, waiting, "delete/")
    assert admin.post(f"/jobs/{waiting}/delete/", **FRAGMENT).status_code == 409


# --- edit and requeue -------------------------------------------------------------------------


def test_an_edited_job_is_a_new_one_and_the_dead_one_is_discarded(
    operator: Client, line: Line
) -> None:
    id = line.dead()
    page = shown(operator, id, "edit/")
    assert "This one is discarded" in page
    answer = operator.post(f"/jobs/{id}/edit/", {"payload.text": "mended", "tags": "a, b"})
    new, old = Job.objects.get(status="pending"), Job.objects.get(id=ObjectId(id))
    assert answer["Location"] == f"/jobs/{new.id}/"
    assert (new.payload, new.tags) == ({"text": "mended"}, ["a", "b"])
    assert (str(new.copied_from), old.copied_to) == (id, new.id)
    assert (old.status, old.payload) == ("cancelled", {"text": ""})
    assert f'href="/jobs/{id}/"' in shown(operator, str(new.id))
    assert f'href="/jobs/{new.id}/"' in shown(operator, id)
    entry = AuditEntry.objects.get(action="resubmit")
    assert (entry.target, entry.after) == (id, {"job": str(new.id), "discarded": True})


def test_an_edit_that_was_written_another_way_is_sent_to_the_job_and_not_shown_again(
    operator: Client, line: Line
) -> None:
    id = line.dead()
    page = operator.post(f"/jobs/{id}/edit/?show=json", {"payload.text": "x"}).content.decode()
    assert f'<form method="post" action="/jobs/{id}/edit/"' in page


def test_an_edited_job_of_another_end_stays_as_it_is(operator: Client, line: Line) -> None:
    id = line.completed()
    operator.post(f"/jobs/{id}/edit/", {"payload.text": "again"})
    assert Job.objects.get(id=ObjectId(id)).status == "completed"


def test_a_fault_of_an_edit_stores_nothing_and_keeps_the_original(
    operator: Client, line: Line
) -> None:
    id = line.dead()
    answer = operator.post(f"/jobs/{id}/edit/", {"payload.text": "x", "queue": "no good"})
    assert answer.status_code == 400
    assert "Use 1 to 64" in answer.content.decode()
    assert [job.status for job in Job.objects.all()] == ["dead"]


def test_what_has_not_ended_is_not_edited_but_cloned(operator: Client, line: Line) -> None:
    id = line.pending()
    assert f"/jobs/new/?from={id}" in shown(operator, id, "edit/")
    answer = operator.post(f"/jobs/{id}/edit/", {"payload.text": "x"})
    assert answer.status_code == 400
    assert "can be edited and requeued" in answer.content.decode()
    assert Job.objects.count() == 1


def test_a_page_with_its_secrets_leads_back_to_the_job(
    client_of: Callable[..., Client], sealed: str
) -> None:
    page = client_of("admin").post(f"/jobs/{sealed}/reveal/").content.decode()
    assert "hunter2" in page
    assert f'name="next" value="/jobs/{sealed}/"' in page
    assert f'hx-get="/jobs/{sealed}/"' in page


def test_who_may_not_see_secrets_writes_them_anew(operator: Client, sealed: str) -> None:
    page = shown(operator, sealed, "edit/")
    assert "hunter2" not in page
    assert secrets.MASK not in page.split("<main")[1].split("<form")[1]
    assert "write it anew" in page
    left_out = operator.post(f"/jobs/{sealed}/edit/", {"payload.to": "eve", "payload.note": "7"})
    assert left_out.status_code == 400
    masked = {"payload.to": "eve", "payload.password": secrets.MASK}
    assert operator.post(f"/jobs/{sealed}/edit/", masked).status_code == 400
    assert Job.objects.count() == 1
    operator.post(f"/jobs/{sealed}/edit/", {"payload.to": "eve", "payload.password": "another-1"})
    new = Job.objects.get(status="pending")
    assert new.payload["password"] == "another-1"
    assert "reveal" not in changes()


def test_who_may_see_secrets_gets_them_in_the_form_and_it_is_audited(
    client_of: Callable[..., Client], sealed: str
) -> None:
    admin = client_of("admin")
    page = shown(admin, sealed, "edit/")
    assert "hunter2-more" in page
    assert "&quot;7&quot;" in page  # a text, where a number may stand too
    assert changes() == ["reveal"]
    filled = {"payload.to": "ada", "payload.password": "hunter2-more", "payload.note": '"7"'}
    admin.post(f"/jobs/{sealed}/edit/", filled)
    new = Job.objects.get(status="pending")
    assert new.payload == {"to": "ada", "password": "hunter2-more", "note": "7"}
    assert changes().count("reveal") == 1


# --- the form of a new job --------------------------------------------------------------------


def test_a_clone_begins_as_the_original(operator: Client, line: Line) -> None:
    id = line.pending("same", queue="mail", priority="low", tags=["a"], max_attempts=7)
    page = operator.get(f"/jobs/new/?from={id}").content.decode()
    assert "same</textarea>" in page or 'value="same"' in page
    for filled in ('value="mail"', 'value="7"', 'value="a"', '<option value="low" selected>'):
        assert filled in page
    sent = {"type": NAME, "from": id, "payload.text": "same", "queue": "mail"}
    operator.post("/jobs/new/", sent)
    assert Job.objects.filter(queue="mail").count() == 2


def test_the_payload_may_be_written_as_json(operator: Client, probe: str) -> None:
    page = operator.get(f"/jobs/new/?type={NAME}&raw=1").content.decode()
    assert 'name="payload"' in page
    assert "&quot;text&quot;: &quot;&quot;" in page
    operator.post("/jobs/new/", {"type": NAME, "raw": "1", "payload": '{"text": "raw"}'})
    assert Job.objects.get().payload == {"text": "raw"}


@pytest.mark.parametrize(
    "payload", ["{", "[]", '{"text": 7}', '{"other": "x"}', f'{{"text": "{secrets.MASK}"}}']
)
def test_json_that_cannot_be_taken_is_a_fault_of_its_box(
    operator: Client, probe: str, payload: str
) -> None:
    answer = operator.post("/jobs/new/", {"type": NAME, "raw": "1", "payload": payload})
    assert answer.status_code == 400
    assert "payload" in answer.context["form"].errors
    assert Job.objects.count() == 0


def test_the_other_way_to_write_it_keeps_what_was_typed(operator: Client, probe: str) -> None:
    sent = {"type": NAME, "payload.text": "typed", "queue": "mail", "tags": "a"}
    page = operator.post("/jobs/new/?show=json", sent).content.decode()
    assert "&quot;text&quot;: &quot;typed&quot;" in page
    assert 'value="mail"' in page
    raw = {"type": NAME, "raw": "1", "payload": '{"text": "back"}', "queue": "mail"}
    page = operator.post("/jobs/new/?show=fields", raw).content.decode()
    assert 'name="payload.text"' in page
    assert "back" in page
    assert Job.objects.count() == 0


def test_a_form_is_shown_as_the_code_that_does_the_same(operator: Client, probe: str) -> None:
    sent = {
        "type": NAME,
        "payload.text": "it's",
        "queue": "mail",
        "tags": "a, b",
        "delay": "60",
        "max_attempts": "2",
        "idempotency_key": "k-1",
        "priority": "low",
    }
    page = operator.post("/jobs/new/?show=code", sent, **FRAGMENT)
    curl, python, command = page.context["code"]
    assert Job.objects.count() == 0
    body = json.loads(curl.text.split("-d '")[1][:-1].replace("'\"'\"'", "'"))
    assert body == {
        "type": NAME,
        "payload": {"text": "it's"},
        "priority": "low",
        "queue": "mail",
        "delay": 60.0,
        "max_attempts": 2,
        "tags": ["a", "b"],
    }
    assert "Idempotency-Key: k-1" in curl.text
    assert python.text.endswith(
        "run.options(priority='low', queue='mail', delay=60.0, max_attempts=2, tags=('a', 'b'), "
        "idempotency_key='k-1').enqueue(text=\"it's\")"
    )
    for option in ("--queue mail", "--delay 60.0", "--tag a --tag b", "--idempotency-key k-1"):
        assert option in command.text


def test_code_shows_no_secret_and_a_fault_instead_of_code(operator: Client, sealed: str) -> None:
    sent = {"type": SECRET, "payload.to": "ada", "payload.password": "hunter2-more"}
    page = operator.post("/jobs/new/?show=code", sent, **FRAGMENT).content.decode()
    assert secrets.MASK in page
    assert "hunter2" not in page
    sent = {"type": SECRET, "payload.to": "ada"}
    faulty = operator.post("/jobs/new/?show=code", sent, **FRAGMENT)
    assert faulty.status_code == 200  # a fragment with another status is not shown
    assert "cannot be submitted" in faulty.content.decode()
    assert faulty.context["code"] == []


def test_a_time_is_read_in_its_zone(operator: Client, probe: str) -> None:
    at = {"type": NAME, "payload.text": "x", "run_at": "2026-12-24T18:00"}
    for zone, hour in (("Europe/Berlin", 17), ("", 18), ("UTC", 18)):
        operator.post("/jobs/new/", {**at, "zone": zone})
        job = Job.objects.order_by("-id").first()
        assert job
        assert job.run_at
        assert (job.status, job.run_at.hour) == ("scheduled", hour)


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"run_at": "tomorrow"}, "run_at"),
        ({"run_at": "2026-12-24T18:00", "zone": "Mars/Base"}, "zone"),
        ({"run_at": "2026-12-24T18:00", "zone": "../../etc/passwd"}, "zone"),
        ({"run_at": "2026-12-24T18:00", "delay": "5"}, "delay"),
        ({"idempotency_key": "ümlaut"}, "idempotency_key"),
    ],
)
def test_a_bad_option_is_a_fault_of_its_field(
    operator: Client, probe: str, chosen: dict[str, str], field: str
) -> None:
    answer = operator.post("/jobs/new/", {"type": NAME, "payload.text": "x", **chosen})
    assert answer.status_code == 400
    assert field in answer.context["form"].errors
    assert Job.objects.count() == 0


def test_a_key_sent_twice_is_one_job_and_for_another_request_a_fault(
    operator: Client, probe: str
) -> None:
    sent = {"type": NAME, "payload.text": "x", "idempotency_key": "k-1"}
    first, again = (operator.post("/jobs/new/", sent)["Location"] for _ in range(2))
    assert first == again
    answer = operator.post("/jobs/new/", {**sent, "payload.text": "y"})
    assert answer.status_code == 400
    assert "idempotency_key" in answer.context["form"].errors
    assert Job.objects.count() == 1
