"""Every page, as everybody meets it: no barrier that axe finds, no error, no wider than a phone."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.urls import resolve
from playwright.sync_api import Browser, ConsoleMessage, Page

from tests.web import scenery
from tests.web.screenshots import LOGIN, pages
from tests.web.test_matrix import read_table

VENDOR = Path(__file__).with_name("vendor")
AXE = VENDOR / "axe-4.14.1.min.js"
LEVEL = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WIDTHS = (1440, 390)
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}  # all that a theme changes
EVERYTHING = {"runOnly": {"type": "tag", "values": LEVEL}}
RUN = "options => axe.run(document, {...options, resultTypes: ['violations']})"


def test_axe_is_unchanged() -> None:
    (listed,) = re.findall(r"`([0-9a-f]{64})`", (VENDOR / "README.md").read_text())
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == listed


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[Page]:
    """A tab of somebody who may do everything, on a queue with a believable hour behind it."""
    scenery.build()
    context = chromium.new_context(base_url=url, reduced_motion="reduce")
    page = context.new_page()
    page.goto("/login/")
    page.fill("#id_username", scenery.USER)
    page.fill("#id_password", scenery.PASSWORD)
    page.click("main button")
    page.wait_for_selector("#live")
    yield page
    context.close()


@pytest.mark.browser
@pytest.mark.timeout(300)  # a quarter of a minute where the machine is its own
def test_every_page_is_open_to_everybody(page: Page) -> None:
    said: list[str] = []

    def keep(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            said.append(f"{page.url}: {message.text}")

    page.on("console", keep)
    page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
    walked = dict(pages())
    found = [fault for name, path in walked.items() for fault in _faults(page, name, path)]
    page.context.clear_cookies()
    walked["login"] = LOGIN
    found += _faults(page, "login", LOGIN)
    assert not found, "\n".join(found)
    assert not said, "\n".join(said)
    assert {resolve(path.partition("?")[0]).route for path in walked.values()} >= _html_routes()


def _html_routes() -> set[str]:
    """The routes of all pages: what an admin gets, and is no file, part, API or Django's admin."""
    others = re.compile(r"admin/|api/|static/|healthz|readyz|metrics|.*export|jobs/suggest/")
    table = read_table()
    return {route for route in table if table[route]["get"][4] == 200 and not others.match(route)}


def _faults(page: Page, name: str, path: str) -> Iterator[str]:
    page.goto(path)
    page.evaluate(AXE.read_text())
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            options = EVERYTHING if theme == "light" else COLOURS
            for violation in page.evaluate(RUN, options)["violations"]:
                yield f"{name} {theme} {width}: {_said(violation)}"
    page.set_viewport_size({"width": 360, "height": 740})
    if (wide := page.evaluate("document.documentElement.scrollWidth")) > 360:
        yield f"{name}: {wide} px wide on a phone of 360"


def _said(violation: dict[str, Any]) -> str:
    nodes = violation["nodes"]
    return f"{violation['id']} at {[node['target'] for node in nodes[:3]]} ({len(nodes)})"
