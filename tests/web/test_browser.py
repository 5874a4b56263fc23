"""The pages in a real browser: what a person has in hand survives every refresh."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect

from jobs import counts, outages, selectors, services, snapshot
from jobs.models import Job
from jobs.outages import Outage
from tests.web.conftest import Line, logged_in

pytestmark = pytest.mark.browser


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[Page]:
    """A logged-in operator's tab; any error on its console fails the test."""
    context = logged_in(chromium, url)
    page = context.new_page()
    errors: list[str] = []

    def keep(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    page.on("console", keep)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/")
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
    counts.forget()
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


def test_a_click_during_a_refresh_is_heard(page: Page, line: Line) -> None:
    id = line.dead()
    page.goto("/dead/")
    held: list[Route] = []
    page.route(re.compile(r"/dead/\?rev="), lambda route: held.append(route), times=1)
    page.evaluate("htmx.trigger(document.body, 'refresh')")
    page.locator(f"#dead-{id}").get_by_role("button", name="Requeue").click()
    expect(page.locator("#messages")).to_contain_text("is pending again")
    assert selectors.job(id).status == "pending"
    held[0].continue_()
    expect(page.locator(f"#dead-{id}")).to_have_count(0)


def test_a_refresh_that_is_asked_for_during_another_is_made_up_for(page: Page, line: Line) -> None:
    page.goto(f"/jobs/{line.completed()}/")  # which asks for nothing by itself
    refresh = re.compile(r"\?rev=")
    held: list[Route] = []
    page.route(refresh, lambda route: held.append(route), times=1)
    with page.expect_request(refresh):
        page.evaluate("htmx.trigger(document.body, 'refresh')")
    page.evaluate("htmx.trigger(document.body, 'refresh')")
    with page.expect_request(refresh):
        held[0].continue_()


def test_a_click_on_the_pill_during_a_poll_is_heard(page: Page, line: Line) -> None:
    id = line.dead()
    page.goto("/dead/")
    page.locator(f"#tick-{id}").check()
    line.dead()
    pill = page.locator("#pill")
    expect(pill).to_have_text("1 new · show")
    line.dead()
    snapshot.forget()
    poll = re.compile(r"/dead/\?rev=")
    held: list[Route] = []
    page.route(poll, lambda route: held.append(route), times=1)
    page.wait_for_event("request", lambda request: poll.search(request.url))
    pill.click()
    held[0].continue_()
    expect(page.locator("table.dead tbody tr")).to_have_count(3)
    expect(pill).to_be_hidden()


def test_a_click_during_another_is_heard_but_not_a_second_on_the_same_button(
    page: Page, line: Line
) -> None:
    first, second = line.dead(), line.dead()
    page.goto("/dead/")
    held: list[Route] = []
    sent: list[str] = []
    page.route(f"**/{first}/requeue/", lambda route: held.append(route), times=1)
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    button = page.locator(f"#dead-{first}").get_by_role("button", name="Requeue")
    button.click()
    button.press("Enter")
    page.locator(f"#dead-{second}").get_by_role("button", name="Requeue").click()
    expect(page.locator(f"#dead-{second}")).to_have_count(0)
    held[0].continue_()
    expect(page.locator(f"#dead-{first}")).to_have_count(0)
    assert len(sent) == 2


def test_the_second_of_a_double_click_does_not_act_on_what_has_come_in_its_place(
    page: Page, line: Line
) -> None:
    last, second, first, before = (line.dead() for _ in range(4))
    page.clock.install()
    page.clock.pause_at(time.time() + 60)
    page.goto("/dead/")
    page.locator(f"#dead-{before}").get_by_role("button", name="Requeue").press("Enter")
    expect(page.locator(f"#dead-{before}")).to_have_count(0)  # its message has a place above
    page.evaluate(
        """() => {
          window.sent = 0;
          addEventListener("htmx:beforeSend", ({ detail }) => {
            sent += detail.requestConfig.verb === "post";
          });
        }"""
    )
    box = page.locator(f"#dead-{first}").get_by_role("button", name="Requeue").bounding_box()
    assert box
    at = (box["x"] + 20, box["y"] + 10)
    page.mouse.click(*at)
    expect(page.locator(f"#dead-{first}")).to_have_count(0)
    under = "([x, y]) => document.elementFromPoint(x, y).closest('tr').id"
    assert page.evaluate(under, at) == f"dead-{second}"
    page.mouse.click(*at)
    assert page.evaluate("sent") == 1
    page.clock.run_for(600)
    page.mouse.click(*at)  # meant for the row that is there now
    expect(page.locator(f"#dead-{second}")).to_have_count(0)
    assert page.evaluate("sent") == 2
    assert selectors.job(last).status == "dead"


def test_what_is_in_hand_survives_the_refreshes(page: Page, line: Line) -> None:
    letters = [line.dead(f"error {n}") for n in range(4)]
    page.goto("/dead/")
    ticks = [page.locator(f"#tick-{letter}") for letter in letters[1:]]
    for tick in ticks:
        tick.check()
    trace = page.locator(f"#trace-{letters[1]}")
    trace.locator("summary").click()
    selected = page.locator(f"#dead-{letters[1]} .lane")
    search = page.locator("#top-search")
    search.press_sequentially("half-ty")
    page.evaluate("row => getSelection().selectAllChildren(row)", selected.element_handle())
    search.focus()
    page.set_viewport_size({"width": 1280, "height": 300})
    page.evaluate("scrollTo(0, 40)")
    order = _ids(page)
    until, later = time.monotonic() + 10, 0
    while time.monotonic() < until:
        line.dead(f"later {later}")
        line.completed()
        later += 1
        page.wait_for_timeout(500)
    expect(page.locator("#pill")).to_have_text(f"{later} new · show")
    assert _ids(page) == order
    for tick in ticks:
        expect(tick).to_be_checked()
    expect(trace).to_have_attribute("open", "")
    expect(search).to_have_value("half-ty")
    expect(search).to_be_focused()
    assert page.evaluate("scrollY") == 40
    page.locator("#pill").click()
    expect(page.locator("table.dead tbody tr")).to_have_count(4 + later)
    expect(page.locator("#pill")).to_be_hidden()
    for tick in ticks:
        expect(tick).to_be_checked()


def _ids(page: Page) -> list[str]:
    rows = page.locator("tbody tr[id^=dead-]")
    found: list[str] = rows.evaluate_all("rows => rows.map(row => row.id)")
    return found


def test_rows_do_not_move_under_the_pointer_and_come_when_it_leaves(page: Page, line: Line) -> None:
    id = line.dead()
    page.goto("/dead/")
    page.locator(f"#dead-{id}").hover()
    services.requeue(id, actor="ada")
    line.dead()
    expect(page.locator("#pill")).to_have_text("1 new · show")
    assert _ids(page) == [f"dead-{id}"]
    page.mouse.move(2, 2)
    expect(page.locator("#pill")).to_be_hidden()
    expect(page.locator(f"#dead-{id}")).to_have_count(0)


def test_rows_are_held_in_no_list_but_their_own(page: Page) -> None:
    page.goto("/dead/")
    held = page.evaluate(
        """() => {
          const live = document.createElement("div");
          const inUse = `<ul><li id="b"><details open></details></li></ul>`;
          live.innerHTML = `<ul><li id="a"></li></ul>${inUse}`;
          return taskqueue.rows.hold(live, `<ul><li id="c"></li></ul>`);
        }"""
    )
    assert held is None  # as it is one list now, nobody knows whose place it has


def test_selected_text_stays_selected(page: Page, line: Line) -> None:
    id = line.dead("first words")
    page.goto("/dead/")
    error = page.locator(f"#dead-{id} .lane")
    page.evaluate("node => getSelection().selectAllChildren(node)", error.element_handle())
    line.dead()
    expect(page.locator("#pill")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == "default/medium"


def test_an_idle_page_asks_less_often_until_somebody_is_there(page: Page, line: Line) -> None:
    page.clock.install()
    page.goto("/jobs/")
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    _pass_time(page, 20)
    assert 5 <= len(seen) <= 11  # one that comes while another is unanswered is left out
    page.clock.fast_forward(300_000)
    _pass_time(page, 2)
    seen.clear()
    _pass_time(page, 60)
    assert 1 <= len(seen) <= 3
    page.mouse.move(50, 50)
    seen.clear()
    _pass_time(page, 10)
    assert len(seen) >= 4


def _pass_time(page: Page, seconds: int) -> None:
    """Have time pass in the page, step by step, so that each request is answered in between."""
    for _ in range(seconds // 2):
        page.clock.run_for(2_000)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(50)


def test_a_clock_that_is_set_stops_no_refresh_and_changes_no_age(page: Page, line: Line) -> None:
    page.clock.install()
    id = line.pending()
    page.goto("/jobs/")
    hours_ago = page.locator(f"#job-{id}").get_by_text("h ago")
    page.clock.set_system_time(time.time() + 7_200)
    page.clock.run_for(1_000)
    expect(hours_ago).to_be_visible()
    page.clock.run_for(2_000)
    expect(hours_ago).to_have_count(0)  # since an answer said what time it is
    page.clock.set_system_time(time.time() - 7_200)
    with page.expect_request(re.compile(r"/jobs/\?rev=")):  # the one after what is under way
        page.clock.run_for(2_000)


def test_data_that_is_no_longer_renewed_says_how_old_it_is(page: Page, line: Line) -> None:
    page.clock.install()
    page.goto("/jobs/")
    page.get_by_role("button", name="Live").click()
    page.clock.run_for(65_000)
    expect(page.locator("#stale")).to_contain_text("Live is off. This data is 1 m old.")


def test_an_outage_is_announced_once_and_its_ages_are_not(
    page: Page, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.clock.install()
    page.goto("/dead/")
    page.evaluate(
        """() => {
          window.heard = [];
          new MutationObserver((changes) => {
            for (const { target } of changes) {
              const node = target.nodeType === Node.TEXT_NODE ? target.parentElement : target;
              const text = node?.closest("[role=status], [aria-live]")?.textContent;
              if (text && text !== heard.at(-1)) heard.push(text);
            }
          }).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    away = Outage("MongoDB", datetime.now(UTC))
    monkeypatch.setattr(outages, "current", lambda: [away])
    page.evaluate("htmx.trigger(document.body, 'refresh')")
    expect(page.locator("#stores")).to_contain_text("MongoDB does not answer")
    page.get_by_role("button", name="Live").click()
    page.clock.run_for(20_000)
    expect(page.locator("#stale")).to_contain_text(re.compile("Live is off. This data is .* s old"))
    outage, off = page.evaluate("heard")
    assert outage.startswith("MongoDB does not answer, since")
    assert off == "Live is off. This data is old."


def test_the_banner_of_an_outage_keeps_the_focus(
    page: Page, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Outage("Redis", datetime.now(UTC))
    monkeypatch.setattr(outages, "current", lambda: [away])
    page.goto("/dead/")
    page.locator("#stores a").focus()
    id = line.dead()
    expect(page.locator(f"#dead-{id}")).to_be_visible()
    expect(page.locator("#stores a")).to_be_focused()


def test_a_hidden_tab_asks_for_nothing(page: Page, line: Line) -> None:
    page.clock.install()
    page.goto("/jobs/")
    assert _requests(page) > 0
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true})")
    assert _requests(page) == 0


def test_live_off_asks_for_nothing_and_is_remembered(page: Page, line: Line) -> None:
    page.clock.install()
    page.goto("/jobs/")
    page.get_by_role("button", name="Live").click()
    assert _requests(page) == 0
    page.reload()
    expect(page.get_by_role("button", name="Live off")).to_be_visible()
    assert _requests(page) == 0


def _requests(page: Page) -> int:
    """Return how often a page asks within a minute of its time."""
    page.wait_for_load_state("networkidle")
    seen: list[Request] = []

    def keep(request: Request) -> None:
        seen.append(request)

    page.on("request", keep)
    page.clock.run_for(60_000)
    page.wait_for_timeout(200)
    page.remove_listener("request", keep)
    return len(seen)


def test_an_unchanged_page_is_not_sent_again(page: Page, line: Line) -> None:
    page.goto("/jobs/")
    with page.expect_response(lambda answer: "rev=" in answer.url) as answered:
        pass
    assert answered.value.status == 204


def test_a_request_that_fails_says_why_and_when_and_whether_anything_was_changed(
    page: Page, line: Line
) -> None:
    id = line.dead()
    tab = page.context.new_page()  # its console will tell of the failures
    tab.goto("/dead/")
    button = tab.locator(f"#dead-{id}").get_by_role("button", name="Requeue")
    said = {
        (503, "store_down"): r"MongoDB does not answer\. Whether this was done is not known",
        (503, "too_slow"): r"took too long and was stopped\. Nothing was changed\.",
        (403, ""): r"not allowed \(any more\), or the page is out of date\. Nothing was changed\.",
        (400, ""): r"The server answered 400\. Nothing was changed\.",
        (502, ""): r"The server answered 502\. Load the page again",
    }
    for (status, code), words in said.items():
        refuse = Refusal(status, {"Problem-Code": code} if code else {})
        tab.route("**/requeue/", refuse, times=1)
        button.press("Enter")
        expect(tab.locator("#messages")).to_have_text(re.compile(words + r".* \(\d\d:\d\d:\d\d\)$"))
    tab.route(re.compile(r"/dead/\?rev="), Refusal(503, {"Problem-Code": "too_slow"}))
    expect(tab.locator("#stale")).to_contain_text("The question took too long and was stopped.")
    tab.goto("/jobs/new/")
    tab.route(re.compile(r"type=resize_image"), Refusal(503, {"Problem-Code": "store_down"}))
    tab.get_by_label("Job type").select_option("resize_image")
    expect(tab.locator("#messages")).to_have_text(re.compile(r"does not answer\. \(\d\d:"))


@dataclass
class Refusal:
    """Answers what a page asks for in place of the server."""

    status: int
    headers: dict[str, str]

    def __call__(self, route: Route) -> None:
        route.fulfill(status=self.status, headers=self.headers)


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
    expect(page.locator("#suggestions li")).to_have_text(["state:dead"])
    box.press("ArrowDown")
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


def test_the_form_of_a_job_keeps_what_was_typed_whatever_it_is_shown_as(
    page: Page, probe: str
) -> None:
    page.goto(f"/jobs/new/?type={probe}")
    expect(page.get_by_label("Time zone of that time")).not_to_have_value("")
    page.locator("#fields").get_by_label("Text").fill("typed by hand")
    page.get_by_role("button", name="Show as code").click()
    expect(page.locator("#code-1")).to_contain_text('"text": "typed by hand"')
    expect(page.locator("#fields").get_by_label("Text")).to_have_value("typed by hand")
    page.get_by_role("button", name="Write it as JSON").click()
    expect(page.locator("[name=payload]")).to_have_value('{\n  "text": "typed by hand"\n}')
    assert Job.objects.count() == 0
    page.get_by_role("button", name="Submit job").last.click()
    expect(page.get_by_role("heading", name="Why is it not running?")).to_be_visible()
    expect(page.locator("#why-no_worker")).to_contain_text("manage.py runworkers")
    assert Job.objects.get().payload == {"text": "typed by hand"}


def test_a_form_is_sent_once_and_again_if_nothing_came_of_it_for_ten_seconds(
    page: Page, line: Line, until: Callable[..., object]
) -> None:
    sent: list[Route] = []

    def keep(route: Route) -> None:
        sent.append(route)
        route.fulfill(status=204)  # as if stopped: the page stays

    page.clock.install()
    page.goto(f"/jobs/{line.dead()}/")
    page.route("**/requeue/", keep)
    button = page.locator("#live").get_by_role("button", name="Requeue", exact=True)
    button.dblclick()
    expect(button).to_be_disabled()
    button.evaluate("button => (button.disabled = false, button.click())")  # as after a morph
    page.clock.fast_forward(10_000)
    expect(button).to_be_enabled()
    assert len(sent) == 1
    button.click()
    until(lambda: len(sent) == 2 or page.wait_for_timeout(20))


def test_what_is_submitted_is_of_the_type_that_is_chosen(
    page: Page, probe: str, until: Callable[..., object]
) -> None:
    tab = page.context.new_page()  # whose console may tell of the request that fails
    tab.goto(f"/jobs/new/?type={probe}")
    chooser, submit = tab.get_by_label("Job type"), tab.get_by_role("button", name="Submit job")
    tab.get_by_role("button", name="Show as code").click()
    expect(tab.locator("#code-1")).to_contain_text(probe)
    held: list[Route] = []
    tab.route("**/jobs/new/?type=*", lambda route: held.append(route), times=1)
    chooser.select_option("send_email")
    expect(submit).to_be_disabled()
    until(lambda: held or tab.wait_for_timeout(20))
    held[0].abort()
    expect(chooser).to_have_value(probe)
    expect(submit).to_be_enabled()
    chooser.select_option("send_email")
    expect(tab.locator("legend").first).to_have_text("Payload of send_email")
    expect(submit).to_be_enabled()
    expect(tab.locator("#code")).to_be_empty()


def test_a_time_that_is_meant_as_utc_stays_so(page: Page, probe: str) -> None:
    page.goto(f"/jobs/new/?type={probe}")
    zone = page.get_by_label("Time zone of that time")
    expect(zone).not_to_have_value("")
    zone.fill("")
    page.get_by_role("button", name="Show as code").click()
    expect(page.locator("#code-1")).to_be_visible()
    expect(zone).to_have_value("")
    page.get_by_label("Or run at").fill("2030-01-01T03:00:05")
    page.get_by_role("button", name="Write it as JSON").click()
    expect(page.locator("[name=payload]")).to_be_visible()
    expect(page.get_by_label("Or run at")).to_have_value("2030-01-01T03:00:05")
    page.wait_for_load_state()  # the script has run
    expect(zone).to_have_value("")


def test_workers_are_asked_in_place_and_the_page_says_when_they_heed(
    page: Page, line: Line
) -> None:
    page.goto("/workers/")
    page.get_by_role("button", name="Quiet").click()
    expect(page.locator("#messages")).to_contain_text("It will take no new job")
    expect(page.locator(".asked")).to_contain_text("asked to be quiet by olga")
    services.heartbeat([line.worker], [{"quiet": True}])
    expect(page.locator(".asked")).to_have_count(0)
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert page.url.endswith("/workers/")
