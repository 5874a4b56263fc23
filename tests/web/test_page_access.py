"""Who may see and do what; reading changes nothing; nothing hostile gets through."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from jobs import selectors, snapshot
from jobs.models import Job
from tests.web.conftest import FRAGMENT, HOSTILE, Line, changes

READ = ["/", "/jobs/", "/dead/", "/operations/", "/queues/", "/workers/"]
OPERATE = ["/jobs/new/"]
POSTS = [
    "/jobs/{id}/requeue/",
    "/jobs/{id}/cancel/",
    "/jobs/new/",
    "/operations/preview/",
    "/operations/start/",
    "/dead/groups/0123456789abcdef/note/",
    "/operations/{id}/stop/",
    "/operations/{id}/resume/",
    "/queues/default/pause/",
    "/queues/default/resume/",
]


@pytest.mark.parametrize("path", [*READ, *OPERATE, "/audit/"])
def test_nobody_is_sent_to_the_login_page(client_of: Callable[..., Client], path: str) -> None:
    answer = client_of(None).get(path)
    assert answer.status_code == 302
    assert answer["Location"] == f"/login/?next={path}"
    assert client_of(None).get(path, **FRAGMENT).status_code == 401


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        *[("viewer", path, 200) for path in READ],
        *[("operator", path, 200) for path in READ + OPERATE],
        *[("", path, 403) for path in READ + OPERATE],
        ("viewer", "/jobs/new/", 403),
        ("viewer", "/audit/", 403),
        ("operator", "/audit/", 403),
        ("admin", "/audit/", 200),
    ],
)
def test_roles(client_of: Callable[..., Client], role: str, path: str, status: int) -> None:
    client = client_of(role)
    assert client.get(path).status_code == status
    assert client.get(path, **FRAGMENT).status_code == status


@pytest.mark.parametrize("role", [None, "", "viewer"])
@pytest.mark.parametrize("path", POSTS)
def test_only_operators_change_anything(
    client_of: Callable[..., Client], line: Line, role: str | None, path: str
) -> None:
    id = line.dead()
    answer = client_of(role).post(path.format(id=id), {"type": "page_probe", "id": id})
    assert answer.status_code == (302 if role is None else 403)
    assert selectors.job(id).status == "dead"
    assert (Job.objects.count(), changes()) == (1, [])


@pytest.mark.parametrize("path", [*POSTS, "/login/", "/logout/"])
def test_a_post_needs_the_csrf_token(
    client_of: Callable[..., Client], line: Line, path: str
) -> None:
    client = client_of("operator", enforce_csrf_checks=True)
    answer = client.post(path.format(id=line.dead()), {"type": "page_probe"})
    assert answer.status_code == 403
    assert "form is out of date" in answer.content.decode()
    assert changes() == []


@pytest.mark.parametrize("path", [path for path in POSTS if path != "/jobs/new/"])
def test_a_get_changes_nothing(operator: Client, line: Line, path: str) -> None:
    id = line.dead()
    assert operator.get(path.format(id=id)).status_code in (200, 405)
    assert selectors.job(id).status == "dead"
    assert changes() == []


def test_a_viewer_sees_no_action(viewer: Client, line: Line) -> None:
    id = line.dead()
    for path in (*READ, f"/jobs/{id}/"):
        page = viewer.get(path).content.decode()
        assert "formaction" not in page
        assert "/jobs/new/" not in page
        assert "read only" in page


def _everything(line: Line) -> list[str]:
    id = line.dead(HOSTILE, text=HOSTILE)
    other = line.completed(result={HOSTILE: HOSTILE})
    return [*READ, "/audit/", f"/jobs/{id}/", f"/jobs/{other}/", f"/jobs/{id}/cancel/"]


def test_hostile_text_is_only_text(client_of: Callable[..., Client], line: Line) -> None:
    client = client_of("admin")
    for path in _everything(line):
        for headers in ({}, FRAGMENT):
            page = client.get(path, **headers).content.decode()
            assert "<svg onload" not in page, path
            assert "<img" not in page, path
            assert "</script><img" not in page, path


@pytest.mark.parametrize(
    "path",
    [
        f"/jobs/?q={HOSTILE}",
        f"/jobs/?status={HOSTILE}",
        f"/?status={HOSTILE}",
        f"/dead/?type={HOSTILE}",
        f"/jobs/{HOSTILE.replace('/', '')}/",
        f"/jobs/new/?type={HOSTILE}",
        "/jobs/?cursor=%00",
        "/jobs/?q=%00%F0%9F%92%A3",
    ],
)
def test_a_hostile_address_is_refused_calmly(operator: Client, path: str) -> None:
    answer = operator.get(path)
    assert answer.status_code in (400, 404)
    assert "<svg onload" not in answer.content.decode()


def test_a_redirect_stays_on_this_site(operator: Client, line: Line) -> None:
    answer = operator.post(f"/jobs/{line.dead()}/requeue/", {"next": "//elsewhere.example/"})
    assert answer.status_code == 302
    assert answer["Location"].startswith("/jobs/")
    page = operator.get(f"/jobs/{line.dead()}/cancel/?back=javascript:alert(1)").content.decode()
    assert "javascript:" not in page


def test_a_fragment_holds_no_token_and_no_shell(
    client_of: Callable[..., Client], line: Line
) -> None:
    client = client_of("admin")
    for path in _everything(line):
        if path.endswith("/cancel/"):
            continue
        page = client.get(path, **FRAGMENT).content.decode()
        assert "csrf" not in page.lower(), path
        assert "<html" not in page, path


def test_what_is_unchanged_is_204(client_of: Callable[..., Client], line: Line) -> None:
    line.dead()
    client = client_of("admin")
    for path in [*READ, "/audit/"]:
        first = client.get(path).content.decode()
        rev = _rev(first)
        assert client.get(path, {"rev": rev}, **FRAGMENT).status_code == 204, path
        assert client.get(path, {"rev": "other"}, **FRAGMENT).status_code == 200, path


def test_a_change_is_no_204(operator: Client, line: Line) -> None:
    line.dead()
    rev = _rev(operator.get("/jobs/").content.decode())
    line.pending()
    snapshot.forget()
    answer = operator.get("/jobs/", {"rev": rev}, **FRAGMENT)
    assert answer.status_code == 200
    assert _rev(answer.content.decode()) != rev


def test_answers_are_neither_mixed_up_nor_kept(operator: Client) -> None:
    answer = operator.get("/")
    assert "HX-Request" in answer["Vary"]
    assert answer["Cache-Control"] == "no-store"


def test_a_page_restored_from_history_is_whole(operator: Client) -> None:
    restore: dict[str, Any] = {**FRAGMENT, "HTTP_HX_HISTORY_RESTORE_REQUEST": "true"}
    assert "<html" in operator.get("/", **restore).content.decode()


def test_the_login_page_leads_on(stores: str, operator: Client) -> None:
    from django.contrib.auth.models import User

    User.objects.create_user("olga", password="correct horse")
    client = Client()
    assert client.get("/login/").status_code == 200
    wrong = client.post("/login/", {"username": "olga", "password": "battery"})
    assert "correct username and password" in wrong.content.decode()
    right = {"username": "olga", "password": "correct horse", "next": "/jobs/"}
    assert client.post("/login/", right)["Location"] == "/jobs/"
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/logout/").status_code == 405


def _rev(page: str) -> str:
    found = re.search(r'name="rev" value="(\w+)"', page)
    assert found
    return found[1]
