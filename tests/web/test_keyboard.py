"""Without a mouse: what failed is found, read and requeued, and a queue is paused."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from jobs import counts, selectors, services, snapshot
from tests.web.conftest import Line, logged_in

pytestmark = pytest.mark.browser


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[Page]:
    """A tab whose mouse nobody uses."""
    context = logged_in(chromium, url)
    page = context.new_page()
    page.goto("/")
    expect(page.locator("#health")).to_be_visible()
    yield page
    context.close()


def keys(page: Page, *pressed: str) -> None:
    page.wait_for_load_state()  # before it no script listens
    for key in pressed:
        page.keyboard.press(key)


def focused(page: Page) -> str:
    text: str = page.evaluate("document.activeElement.textContent.trim()")
    return text


def tab_to(page: Page, name: str) -> None:
    """Walk on by Tab to what has this text."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if re.search(name, focused(page)):
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_one_logs_in(page: Page) -> None:
    page.context.clear_cookies()
    page.goto("/login/")
    expect(page.locator("#id_username")).to_be_focused()
    page.keyboard.type("olga")
    keys(page, "Tab")
    page.keyboard.type("correct horse")
    keys(page, "Enter")
    expect(page.locator("#health")).to_be_visible()


def test_a_failed_job_is_found_read_and_its_group_requeued_and_a_queue_paused(
    page: Page, line: Line
) -> None:
    ids = [line.dead("no route to host") for _ in range(2)]
    counts.forget()
    keys(page, "g", "d")
    expect(page).to_have_url(re.compile("/dead/$"))
    keys(page, "j", "Enter")
    expect(page).to_have_url(re.compile("/dead/groups/"))
    keys(page, "j", "Enter")
    expect(page).to_have_url(re.compile(f"/jobs/{ids[1]}/$"))
    tab_to(page, "Traceback")
    keys(page, "Enter")
    expect(page.locator("#live details[open] pre")).to_contain_text("no route to host")
    keys(page, "g", "d")
    expect(page).to_have_url(re.compile("/dead/$"))
    keys(page, "j", "r")
    expect(page.get_by_role("button", name="Requeue 2")).to_be_visible()
    tab_to(page, "^Requeue 2")
    keys(page, "Enter")
    expect(page).to_have_url(re.compile("/operations/"))
    assert {selectors.job(id).status for id in ids} <= {"dead", "pending"}

    keys(page, "g", "q")
    expect(page).to_have_url(re.compile("/queues/$"))
    tab_to(page, "^Pause")
    keys(page, "Enter")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("no route to host")
    keys(page, "Enter")
    expect(page.get_by_role("button", name="Resume default")).to_be_visible()
    assert services.paused_queues() == {"default"}


def test_a_row_is_requeued_by_r_which_asks_first(page: Page, line: Line) -> None:
    kept, id = line.dead("it broke"), line.dead("it broke")
    keys(page, "g", "d")
    expect(page.locator(f"#dead-{id}")).to_be_visible()
    keys(page, "j", "j", "r")  # the first row is their group
    expect(page.locator("#ask")).to_contain_text("Requeue page_probe")
    keys(page, "Escape")
    assert selectors.job(id).status == "dead"
    keys(page, "r", "Enter")
    expect(page.locator(f"#dead-{id}")).to_have_count(0)
    assert (selectors.job(id).status, selectors.job(kept).status) == ("pending", "dead")
    keys(page, "j")  # the place of the row that has gone
    assert focused(page) == kept[-8:]


def test_a_question_may_be_answered_after_a_refresh(page: Page, line: Line) -> None:
    id = line.dead("it broke")
    keys(page, "g", "d")
    expect(page.locator(f"#dead-{id}")).to_be_visible()
    keys(page, "j", "j", "r")
    expect(page.locator("#ask")).to_be_visible()
    line.dead("it broke otherwise")
    snapshot.forget()
    with page.expect_response(re.compile("/dead/")) as answer:
        page.evaluate("htmx.trigger(document.body, 'refresh')")
    assert answer.value.status == 200
    keys(page, "Enter")
    expect(page.locator(f"#dead-{id}")).to_have_count(0)


def test_an_answer_about_what_has_gone_meanwhile_says_that_nothing_was_sent(
    page: Page, line: Line
) -> None:
    id = line.dead("it broke")
    keys(page, "g", "d")
    expect(page.locator(f"#dead-{id}")).to_be_visible()
    keys(page, "j", "j", "r")
    services.cancel(id, actor="ada")
    snapshot.forget()
    page.evaluate("htmx.trigger(document.body, 'refresh')")
    expect(page.locator(f"#dead-{id}")).to_have_count(0)
    keys(page, "Enter")
    expect(page.locator("#messages")).to_contain_text("Nothing was sent")
    assert selectors.job(id).status == "cancelled"


def test_an_open_question_leaves_the_page_as_it_is(page: Page, line: Line) -> None:
    id = line.dead("it broke")
    page.clock.install()
    keys(page, "g", "d")
    expect(page.locator(f"#dead-{id}")).to_be_visible()
    keys(page, "j", "j", "r")
    expect(page.locator("#ask")).to_be_visible()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.clock.fast_forward(200_000)
    page.keyboard.press("Shift")
    page.clock.run_for(5_000)
    page.wait_for_timeout(100)
    assert sent == []


def test_of_two_questions_the_second_is_heard(page: Page, line: Line) -> None:
    id = line.dead("it broke")
    keys(page, "g", "d")
    expect(page.locator(f"#dead-{id}")).to_be_visible()
    keys(page, "j", "j")
    page.evaluate(
        """() => {  // before the browser says that the first was closed
          const press = (key) => document.activeElement.dispatchEvent(
            new KeyboardEvent("keydown", { key, bubbles: true }));
          press("r");
          document.getElementById("ask").close();
          press("r");
        }"""
    )
    keys(page, "Enter")
    expect(page.locator(f"#dead-{id}")).to_have_count(0)


def test_rows_are_ticked_and_walked_while_they_are_refreshed(page: Page, line: Line) -> None:
    ids = [line.dead() for _ in range(3)]
    keys(page, "g", "d")
    letters = page.locator("tbody tr[id^=dead-]")
    expect(letters).to_have_count(3)
    keys(page, "j", "j", "j", "x")
    expect(page.locator(f"#tick-{ids[1]}")).to_be_checked()
    line.dead()
    page.evaluate("htmx.trigger(document.body, 'refresh')")
    page.locator("#pill").click()  # rows that are ticked stay where they are until then
    expect(letters).to_have_count(4)
    expect(page.locator(f"#tick-{ids[1]}")).to_be_checked()
    keys(page, "k")
    assert focused(page) == ids[2][-8:]


def test_keys_are_letters_where_one_types_and_nothing_when_switched_off(
    page: Page, line: Line
) -> None:
    keys(page, "/")
    page.keyboard.type("gj?x")
    expect(page.locator("#top-search")).to_have_value("gj?x")
    keys(page, "Escape", "?")
    expect(page.locator("#keys-help")).to_be_visible()
    keys(page, "Escape", "p")
    expect(page.get_by_role("button", name="Live off")).to_be_visible()
    page.locator("#display summary").press("Enter")
    page.locator("#keys-choice").press("Space")
    keys(page, "Escape", "g", "j")
    page.reload()
    keys(page, "g", "j", "?")
    expect(page.locator("#keys-help")).to_be_hidden()
    assert page.url.endswith("/")


def test_the_density_is_kept(page: Page) -> None:
    page.locator("#display summary").press("Enter")
    page.select_option("#density-choice", "compact")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.density") == "compact"
