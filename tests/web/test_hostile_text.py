"""Hostile text in every field, seen by a real browser: it is text, on pages that hold together."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.files.storage import default_storage
from playwright.sync_api import Browser, BrowserContext, Page, expect

from jobs import audit, reports, selectors, services
from jobs.clients import collection
from jobs.models import ApiToken, Job
from tests.hostile import STRINGS
from tests.web.conftest import Line, logged_in

pytestmark = pytest.mark.browser
WIDTHS = (390, 1440)


class Watched:
    """A browser that remembers whatever should not happen in it."""

    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()
        self.found: list[str] = []
        self.page.on("dialog", lambda dialog: self._keep("dialog", dialog.message, dialog))
        self.page.on("pageerror", lambda error: self._keep("error", str(error)))
        self.page.on("popup", lambda popup: self._keep("popup", popup.url))
        self.page.on("console", self._console)

    def _keep(self, kind: str, text: str, dialog: Any = None) -> None:
        self.found.append(f"{self.page.url}: {kind}: {text}")
        if dialog:
            dialog.dismiss()

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._keep(message.type, message.text)

    def visit(self, path: str, *, ours: bool = True) -> None:
        answer = self.page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
        for width in WIDTHS if ours else ():
            self.page.set_viewport_size({"width": width, "height": 900})
            if over := self.page.evaluate(OVERFLOW):
                self.found.append(f"{path}: {width} px: {over}")


OVERFLOW = """() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return "";
  const wide = [...document.querySelectorAll("body *")].filter(
    (node) => node.getBoundingClientRect().right > root.clientWidth + 1);
  return `${root.scrollWidth} wide: ` + wide.slice(0, 6).map(
    (node) => `${node.tagName}.${node.className}`.slice(0, 80)).join(", ");
}"""


@pytest.fixture(autouse=True)
def _async_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Playwright runs an event loop in this thread, which Django would take for an async view."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")


@pytest.fixture
def watched(chromium: Browser, url: str) -> Iterator[Watched]:
    context = logged_in(chromium, url)
    watched = Watched(context)
    watched.page.goto("/")
    expect(watched.page.locator("#health")).to_be_visible()
    yield watched
    context.close()
    assert watched.found == []


def plant(line: Line, text: str) -> str:
    """Have a dead job, a worker, an audit entry and so on whose every text is this one.

    Written past the services, which refuse much of it: another version may have let it in.
    """
    id = line.dead(text=text)
    payload = {"text": text, text.replace("\0", ""): [text, {text.replace("\0", ""): text}]}
    words = {"type": text, "queue": text, "tags": [text] * 3, "error": text}
    told = {f"attempts.0.{name}": text for name in ("error", "error_type", "traceback", "outcome")}
    changes = {"payload": payload, "result": payload, "result_error": text, **words, **told}
    collection("jobs").update_one({"_id": ObjectId(id)}, {"$set": changes})
    worker = {"host": text, "version": text, "queues": [text], "end_reason": text}
    collection("workers").update_one({"_id": line.worker}, {"$set": worker})
    return id


def test_hostile_text_is_only_text(watched: Watched, probe: str) -> None:
    ids = [plant(Line(), text) for text in STRINGS]
    for path in ("/", "/jobs/", "/dead/", "/workers/"):
        watched.visit(path)
    for id in ids:
        watched.visit(f"/jobs/{id}/")
    everything = plant(Line(), " ".join(STRINGS))
    watched.visit(f"/jobs/{everything}/cancel/")
    watched.visit(f"/admin/jobs/job/{everything}/change/", ours=False)
    watched.visit("/admin/jobs/job/", ours=False)
    watched.visit("/admin/jobs/worker/", ours=False)


def test_hostile_names_of_people_and_queues_are_only_text(watched: Watched, line: Line) -> None:
    olga = User.objects.get(username="olga")
    kind = ContentType.objects.get_for_model(Job)
    for text in STRINGS:
        person = User.objects.create(username=text)
        key = str(ObjectId())
        ApiToken.objects.create(
            user=person,
            name=text[:100],
            public=key[-8:],
            digest=key,
            role="viewer",
            queues=[],
            created_at=datetime.now(UTC),
        )
        LogEntry.objects.create(
            user=olga, content_type=kind, object_id="1", object_repr=text[:200], action_flag=CHANGE
        )
        audit.record(text, "requeue", text, detail=text)
        name = text.replace("/", "")
        collection("queues").insert_one({"_id": name, "paused_at": None, "paused_by": text})
    for path in ("/queues/", "/audit/"):
        watched.visit(path)
    for path in ("", "jobs/apitoken/", "jobs/queue/", "jobs/auditentry/", "auth/user/"):
        watched.visit(f"/admin/{path}", ours=False)


def test_a_report_of_hostile_text_is_only_text(watched: Watched, probe: str) -> None:
    for text in STRINGS:
        plant(Line(), text)
    made = reports.generate(STRINGS[1], "failures", 1)
    path = default_storage.path(made["html"])
    watched.page.goto(f"file://{path}")
    assert watched.page.locator("tbody tr").count() == len(STRINGS)
    assert watched.page.locator("main script, svg, iframe, img").count() == 0
    sheet = default_storage.open(made["csv"]).read().decode()
    assert "'=HYPERLINK" in sheet


def test_the_description_of_the_api_can_be_read_and_tried(watched: Watched) -> None:
    page: Page = watched.page
    page.goto("/api/docs/")
    expect(page.locator("#operations-v1-list_jobs, .opblock").first).to_be_visible()
    page.goto("/api/redoc/")
    expect(page.get_by_role("heading", name="Submit a job").first).to_be_visible()
    page.goto("/api/v1/stats/")
    expect(page.get_by_text("by_status").first).to_be_visible()


def test_the_admin_works_under_the_policy(watched: Watched, line: Line) -> None:
    page = watched.page
    services.cancel(line.pending(), actor="x")
    watched.visit("/admin/auth/user/add/", ours=False)
    watched.visit("/admin/auth/group/", ours=False)
    watched.visit("/admin/jobs/job/?status__exact=cancelled", ours=False)
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    assert selectors.jobs(selectors.JobFilter(status="cancelled")).jobs
