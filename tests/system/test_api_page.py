"""docs/api.md: every block of it does what it says, against a live server."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from django.contrib.auth.models import User

from jobs import roles, services
from jobs.clients import collection
from taskqueue.embedded import free_port
from taskqueue.run import WEB
from tests.system.conftest import ROOT

PAGE = (ROOT / "docs/api.md").read_text()
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", PAGE, re.S)


@pytest.fixture
def server(
    environment: dict[str, str], tmp_path: Path, until: Any, django_db_blocker: Any
) -> Iterator[dict[str, str]]:
    """A web process on this test's stores; yields what a caller of its API has in its shell."""
    with django_db_blocker.unblock():
        user = User.objects.create_user("olga")
        roles.give(user, "admin")
        token = services.issue_token(user, actor="tests")
    url = f"http://127.0.0.1:{free_port()}"
    command = [*WEB, "--bind", url.removeprefix("http://")]
    with (tmp_path / "web.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def answers() -> bool:
        try:
            return bool(urlopen(f"{url}/healthz", timeout=1).status == 200)  # noqa: S310
        except OSError:
            return False

    try:
        until(answers)
        tools = str(Path(sys.executable).parent)
        path = f"{tools}:{environment['PATH']}"
        yield {**environment, "URL": url, "TOKEN": token, "PATH": path}
    finally:
        process.terminate()
        process.wait(30)


def run(language: str, block: str, env: dict[str, str], folder: Path) -> str:
    command = ["sh", "-euc", block] if language == "sh" else [sys.executable, "-c", block]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_block_of_the_page_does_what_it_says(server: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "caller"
    folder.mkdir()
    said = [run(language, block, server, folder) for language, block in BLOCKS]
    submitted, listed, searched, operation, with_httpx, _, with_client = said
    assert '"status":"pending"' in submitted
    assert '"next":null' in listed
    assert '"type":"send_email"' in searched
    assert '"action":"cancel"' in operation
    assert with_httpx.split() == ["pending", "timed_out", "304"]
    assert with_client.strip() == "pending"
    assert collection("jobs").count_documents({"type": "send_email"}) == 3
    assert collection("operations").count_documents({"state": "running", "total": 1}) == 1
