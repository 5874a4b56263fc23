"""The files that pages are made of: vendored ones unchanged, none with inline script or style."""

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENDOR = ROOT / "static" / "vendor"


def _listed() -> dict[str, str]:
    table = (VENDOR / "README.md").read_text()
    return dict(re.findall(r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$", table, re.MULTILINE))


def test_vendored_files_are_unchanged() -> None:
    listed = _listed()
    assert len(listed) == 3
    for name, checksum in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == checksum, name


def test_every_vendored_script_is_listed() -> None:
    assert {path.name for path in VENDOR.glob("*.js")} <= set(_listed())


def test_every_icon_that_is_used_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([^"]+)"', (ROOT / "static" / "icons.svg").read_text()))
    templates = "".join(path.read_text() for path in (ROOT / "templates").rglob("*.html"))
    tags = (ROOT / "jobs" / "templatetags" / "job_tags.py").read_text()
    used = set(re.findall(r'{% icon "([^"]+)"', templates))
    used |= set(re.findall(r'symbol="([^"]+)"', templates))
    used |= set(re.findall(r'": "([a-z-]+)",', tags))
    assert used
    assert used <= sprite


def test_a_strict_policy_refuses_nothing() -> None:
    pages = [path for path in (ROOT / "templates").rglob("*.html") if path.parent.name != "reports"]
    for path in pages:
        text = path.read_text()
        assert " style=" not in text, path
        assert not re.search(r"<script(?![^>]* src=)", text), path
        assert not re.search(r"\son[a-z]+=", text), path
        assert "|safe" not in text, path
        assert "autoescape off" not in text, path
    for path in (ROOT / "jobs").rglob("*.py"):
        assert "mark_safe" not in path.read_text(), path
