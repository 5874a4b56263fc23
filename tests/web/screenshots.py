"""Take every page in both themes, wide and narrow, of a queue with a believable hour behind it.

python -m tests.web.screenshots OUTDIR   (`make screenshots`)
"""

import argparse
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from PIL import Image
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
    "job-new": "/jobs/new/?type=send_email",
    "jobs-search": "/jobs/?q=state:dead+error:timeout",
    "dead": "/dead/",
    "queues": "/queues/",
    "queue": "/queues/imports/",
    "queue-pause": "/queues/mail/pause/",
    "workers": "/workers/",
    "operations": "/operations/",
    "system": "/system/",
    "people": "/people/",
    "audit": "/audit/",
    "tokens": "/tokens/",
}
LOGIN = "/login/"  # shown to those who are not logged in
STATES = ("completed", "dead", "retrying", "running", "scheduled")
QUALITY = 45  # of a WebP: text stays sharp, and all of them together small
MOST = {1440: 1500, 390: 1800}  # pixels of height: longer lists say nothing more
SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "taskqueue.settings",
    "ENVIRONMENT": "staging",
    "QUEUE_TARGETS": "default=60,mail=300/high=5,imports=120",
    "ALLOWED_HOSTS": "localhost,127.0.0.1",
}


def pages() -> Iterator[tuple[str, str]]:
    """Yield what each page is called, and its address."""
    from jobs.models import Job, Operation, Worker

    yield from PAGES.items()
    for state in STATES:
        id = Job.objects.filter(status=state).order_by("-id").values_list("id", flat=True)[0]
        yield f"job-{state}", f"/jobs/{id}/"
        if state == "dead":
            yield "job-discard", f"/jobs/{id}/cancel/"
            yield "job-edit", f"/jobs/{id}/edit/"
            yield "job-delete", f"/jobs/{id}/delete/"
            yield "dead-group", f"/dead/groups/{Job.objects.get(id=id).fingerprint}/"
    yield "workers-stop", f"/workers/{Worker.objects.filter(ended_at=None)[0].pk}/stop/"
    yield "operation", f"/operations/{Operation.objects.all()[0].id}/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outdir", type=Path)
    outdir = parser.parse_args().outdir
    outdir.mkdir(parents=True, exist_ok=True)
    with _site() as url:
        addresses = dict(pages())
        with sync_playwright() as playwright:
            path = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
            for theme in ("light", "dark"):
                for name, width in WIDTHS.items():
                    page = _page(browser, theme, width, url)
                    _shoot(page, outdir / f"login-{theme}-{name}.webp", LOGIN, width)
                    _log_in(page)
                    for title, address in addresses.items():
                        _shoot(page, outdir / f"{title}-{theme}-{name}.webp", address, width)
            browser.close()


@contextmanager
def _site() -> Iterator[str]:
    """Run the site with stores of its own, full of scenery."""
    with ExitStack() as running:
        data = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="screenshots-")))
        from taskqueue import embedded

        os.environ.update(running.enter_context(embedded.running(data)))
        os.environ.update(SETTINGS, DATA_DIR=str(data))
        import django

        django.setup()
        server = _server()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _server() -> WSGIServer:
    from django.conf import settings
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    from tests.web import scenery

    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    call_command("migrate", interactive=False, verbosity=0)
    scenery.build()
    threading.Thread(target=scenery.keep_alive, daemon=True).start()
    return make_server("127.0.0.1", 0, StaticFilesHandler(get_wsgi_application()), _Server, _Quiet)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _page(browser: Browser, theme: str, width: int, url: str) -> Page:
    context = browser.new_context(viewport={"width": width, "height": 900}, base_url=url)
    context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    return context.new_page()


def _log_in(page: Page) -> None:
    from tests.web import scenery

    page.fill("#id_username", scenery.USER)
    page.fill("#id_password", scenery.PASSWORD)
    page.click("main button")
    page.wait_for_selector("#live")


def _shoot(page: Page, path: Path, address: str, width: int) -> None:
    """Take all of a page, in a window as high as it is: what is fixed has its place at the foot."""
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(address)
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(height, MOST[width])})
    Image.open(io.BytesIO(page.screenshot())).save(path, quality=QUALITY, method=6)


if __name__ == "__main__":
    main()
