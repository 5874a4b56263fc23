"""Take every page in both themes, wide and narrow.

python -m tests.web.screenshots OUTDIR --url http://127.0.0.1:8000 --user admin --password …
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WIDTHS = {"wide": 1440, "narrow": 390}
PAGES = {
    "overview": "/",
    "jobs": "/jobs/",
    "jobs-none": "/jobs/?q=no-such-tag",
    "jobs-fault": "/jobs/?q=age:1h",
    "new-email": "/jobs/new/?type=send_email",
    "new-data": "/jobs/new/?type=process_data",
    "jobs-search": "/jobs/?q=state:dead+error:timeout",
    "dead": "/dead/",
    "queues": "/queues/",
    "workers": "/workers/",
    "audit": "/audit/",
    "missing": "/jobs/000000000000000000000000/",
}
STATES = ("completed", "dead", "retrying", "running", "scheduled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password", required=True)
    chosen = parser.parse_args()
    chosen.outdir.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_ARGS
        )
        for theme in ("light", "dark"):
            for name, width in WIDTHS.items():
                page = _page(browser, theme, width, chosen.url)
                _shoot(page, chosen.outdir / f"login-{theme}-{name}.png", chosen.url + "/login/")
                _log_in(page, chosen.user, chosen.password)
                for title, path in {**PAGES, **dict(_job_pages(page, chosen.url))}.items():
                    _shoot(page, chosen.outdir / f"{title}-{theme}-{name}.png", chosen.url + path)
        browser.close()


def _page(browser: Browser, theme: str, width: int, url: str) -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, base_url=url)
    context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    return context.new_page()


def _log_in(page: Page, user: str, password: str) -> None:
    page.fill("#id_username", user)
    page.fill("#id_password", password)
    page.click("main button")
    page.wait_for_selector("#live")


def _job_pages(page: Page, url: str) -> Iterator[tuple[str, str]]:
    """The newest job in each state that has one."""
    for state in STATES:
        page.goto(f"{url}/jobs/?status={state}")
        link = page.locator("tbody tr a").first
        if link.count() and (address := link.get_attribute("href")):
            yield f"job-{state}", address
            if state == "dead":
                yield "job-discard", f"{address}cancel/"


def _shoot(page: Page, path: Path, address: str) -> None:
    page.goto(address)
    page.screenshot(path=path, full_page=True)


if __name__ == "__main__":
    main()
