"""The pages in a real browser: what a person has in hand survives every refresh."""

import re
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from jobs import selectors, services
from jobs.models import Job
from tests.web.conftest import Line

pytestmark = pytest.mark.browser
POLLS = 5_000  # milliseconds: at least two refreshes


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[Page]:
    """A logged-in operator's tab; any error on its console fails the test."""
    User.objects.create_superuser("olga", password="correct horse")
    context = chromium.new_context(base_url=url)
    page = context.new_page()
    errors: list[str] = []

    def keep(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    page.on("console", keep)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/login/")
    page.fill("#id_username", "olga")
    page.fill("#id_password", "correct horse")
    page.click("main button")
    expect(page.locator("#health")).to_be_visible()
    yield page
    context.close()
    assert errors == []


def test_a_job_is_submitted_and_appears_without_a_reload(
    page: Page, probe: str, until: Callable[..., object]
) -> None:
    page.goto("/jobs/")
    other = page.context.new_page()
    other.goto("/jobs/new/")
    other.select_option("[name=type]", "send_email")
    expect(other.get_by_label("Subject")).to_be_visible()
    # Within the fields: the chooser's label holds the names of all types, "to" in some of them.
    other.locator("#fields").get_by_label("To", exact=False).first.fill("a@example.org")
    other.get_by_label("Subject").fill("Hello")
    other.get_by_role("button", name="Submit job").click()
    expect(other.get_by_role("heading", name="send_email")).to_be_visible()
    (job,) = Job.objects.all()
    assert job.payload == {"to": "a@example.org", "subject": "Hello", "body": ""}
    expect(page.locator(f"#job-{job.id}")).to_be_visible()


def test_a_dead_letter_is_requeued_in_place(page: Page, line: Line) -> None:
    id, other = line.dead("no route"), line.dead()
    selectors.forget_stats()
    page.goto("/dead/")
    expect(page.locator("#nav-dead")).to_contain_text("2")
    page.locator(f"#dead-{id}").get_by_role("button", name="Requeue").click()
    expect(page.locator("#messages")).to_contain_text("is pending again")
    expect(page.locator(f"#dead-{id}")).to_have_count(0)
    expect(page.locator(f"#dead-{other}")).to_be_visible()
    expect(page.locator("#nav-dead")).to_contain_text("1")
    assert selectors.job(id).status == "pending"


def test_a_row_that_arrived_later_can_be_acted_on(page: Page, line: Line) -> None:
    page.goto("/dead/")
    id = line.dead()
    row = page.locator(f"#dead-{id}")
    expect(row).to_be_visible()
    row.get_by_role("button", name="Requeue").click()
    expect(row).to_have_count(0)
    assert page.url.endswith("/dead/")


def test_what_is_in_hand_survives_the_refreshes(page: Page, line: Line) -> None:
    letters = [line.dead(f"error {n}") for n in range(3)]
    page.goto("/dead/")
    tick = page.locator(f"#tick-{letters[1]}")
    trace = page.locator(f"#trace-{letters[1]}")
    tick.check()
    trace.locator("summary").click()
    search = page.locator("#top-search")
    search.press_sequentially("half-ty")
    for n in range(3):
        line.dead(f"later {n}")
    expect(page.locator("table.dead tbody tr")).to_have_count(6)
    page.wait_for_timeout(POLLS)
    expect(tick).to_be_checked()
    expect(trace).to_have_attribute("open", "")
    expect(search).to_have_value("half-ty")
    expect(search).to_be_focused()


def test_a_hidden_tab_asks_for_nothing(page: Page, line: Line) -> None:
    page.goto("/jobs/")
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true})")
    assert _requests(page) == 0


def test_live_off_asks_for_nothing_and_is_remembered(page: Page, line: Line) -> None:
    page.goto("/jobs/")
    page.get_by_role("button", name="Live").click()
    assert _requests(page) == 0
    page.reload()
    expect(page.get_by_role("button", name="Live off")).to_be_visible()
    assert _requests(page) == 0


def _requests(page: Page) -> int:
    seen: list[Request] = []

    def keep(request: Request) -> None:
        seen.append(request)

    page.on("request", keep)
    page.wait_for_timeout(POLLS)
    page.remove_listener("request", keep)
    return len(seen)


def test_an_unchanged_page_is_not_sent_again(page: Page, line: Line) -> None:
    page.goto("/jobs/")
    with page.expect_response(lambda answer: "rev=" in answer.url) as answered:
        pass
    assert answered.value.status == 204


def test_the_theme_is_kept(page: Page) -> None:
    page.locator("#display summary").click()
    page.select_option("#theme-choice", "dark")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 14, 19)"


def test_a_paused_queue_is_resumed_in_place(page: Page, line: Line) -> None:
    line.pending()
    page.goto("/queues/")
    page.get_by_role("link", name="Pause default").click()
    page.get_by_label("Reason").fill("deploying")
    page.get_by_role("button", name="Pause the queue").click()
    expect(page).to_have_url(re.compile("/queues/$"))
    expect(page.get_by_role("button", name="Resume default")).to_be_visible()
    assert services.paused_queues() == {"default"}
    page.get_by_role("button", name="Resume default").click()
    expect(page.get_by_role("link", name="Pause default")).to_be_visible()
    assert services.paused_queues() == set()


def test_no_page_is_wider_than_a_phone(page: Page, line: Line) -> None:
    id = line.dead("x" * 500)
    line.pending(tags=["a" * 64])
    page.set_viewport_size({"width": 360, "height": 740})
    pages = ["/", "/jobs/", "/jobs/new/?type=process_data", "/dead/", "/queues/", "/workers/"]
    for path in [*pages, "/audit/", f"/jobs/{id}/"]:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_a_search_is_completed_by_the_keyboard(page: Page, line: Line) -> None:
    dead, other = line.dead("no route"), line.pending()
    page.goto("/jobs/")
    box = page.get_by_role("combobox", name="Search jobs")
    box.press_sequentially("sta")
    expect(page.get_by_role("option", name="state:")).to_be_visible()
    box.press("ArrowDown")
    box.press("Enter")
    expect(box).to_have_value("state:")
    box.press_sequentially("de")
    box.press("ArrowDown")
    expect(page.locator("#suggestions li")).to_have_text(["state:dead"])
    expect(box).to_have_attribute("aria-activedescendant", "suggestion-1")
    box.press("Tab")
    expect(box).to_have_value("state:dead ")
    box.press("Escape")
    box.press("Enter")
    expect(page.locator(f"#job-{dead}")).to_be_visible()
    expect(page.locator(f"#job-{other}")).to_have_count(0)
    page.get_by_label("Tick all on this page").check()
    page.get_by_role("button", name="the ticked").click()
    expect(page.get_by_role("heading", name="Requeue 1 job?")).to_be_visible()
