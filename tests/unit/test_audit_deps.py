"""`make audit-deps` fails when it could not check, and when there is something to know."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = "django==5.2.19 \\\n    --hash=sha256:00\nPy_Yaml==6.0 ; python_version >= '3.11' \\\n"
CHECKED = [
    {"name": "Django", "version": "5.2.19", "vulns": []},
    {"name": "py-yaml", "version": "6.0", "vulns": []},
]
VULNERABLE = {"name": "py-yaml", "version": "6.0", "vulns": [{"id": "CVE-2026-1"}]}


def judge(tmp_path: Path, report: Any) -> subprocess.CompletedProcess[str]:
    (tmp_path / "lock").write_text(LOCK)
    if report is not None:
        (tmp_path / "report").write_text(json.dumps(report))
    command = [sys.executable, ROOT / ".ci/audit_deps.py", tmp_path / "lock", tmp_path / "report"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_all_checked_and_nothing_known_passes(tmp_path: Path) -> None:
    done = judge(tmp_path, {"dependencies": CHECKED})
    assert (done.returncode, done.stdout) == (
        0,
        "2 packages checked, 0 with a known vulnerability.\n",
    )


def test_a_known_vulnerability_fails_and_is_named(tmp_path: Path) -> None:
    done = judge(tmp_path, {"dependencies": [CHECKED[0], VULNERABLE]})
    assert done.returncode == 1
    assert "py-yaml 6.0: CVE-2026-1" in done.stdout


@pytest.mark.parametrize(
    "report",
    [
        None,
        {},
        {"dependencies": []},
        {"dependencies": CHECKED[:1]},
        {"dependencies": [CHECKED[0], {"name": "py-yaml", "skip_reason": "not found"}]},
    ],
    ids=["no report", "empty", "none", "one left out", "one skipped"],
)
def test_what_was_not_checked_fails(tmp_path: Path, report: Any) -> None:
    done = judge(tmp_path, report)
    assert done.returncode == 2
    assert "NOT CHECKED" in done.stderr


def test_every_pin_is_locked_with_hashes() -> None:
    for name in ("requirements", "requirements-dev", "requirements-supply"):
        lock = (ROOT / f"{name}.lock").read_text()
        wanted = [
            line.partition(";")[0].strip().replace("[sidecar]", "").replace("[email]", "")
            for line in (ROOT / f"{name}.txt").read_text().splitlines()
            if "==" in line
        ]
        assert wanted
        for pin in wanted:
            entry = rf"^{re.escape(pin.lower())}( ;.*)? \\\n    --hash=sha256:"
            assert re.search(entry, lock.lower(), re.M), pin
        assert "://" not in lock
