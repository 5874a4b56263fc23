"""Judge what pip-audit found: python .ci/audit_deps.py LOCK REPORT.json

It prints each known vulnerability and exits 1. It exits 2 if a locked package was not looked up:
pip-audit leaves out what it cannot check, and "nothing found" would then mean nothing.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any


def main(lock: str, report: str) -> int:
    locked = {_plain(name) for name in re.findall(r"^([\w.-]+)==", Path(lock).read_text(), re.M)}
    try:
        found = json.loads(Path(report).read_text())["dependencies"]
    except (OSError, ValueError, KeyError):
        found = []
    checked = {_plain(each["name"]) for each in found if "vulns" in each}
    for line in filter(None, map(_line, found)):
        print(line)
    if missing := locked - checked:
        names = ", ".join(sorted(missing)[:10])
        print(f"NOT CHECKED: {len(missing)} of {len(locked)} packages ({names}…)", file=sys.stderr)
        print("Run this where the package index can be asked for vulnerabilities.", file=sys.stderr)
        return 2
    vulnerable = sum(bool(each["vulns"]) for each in found)
    print(f"{len(checked)} packages checked, {vulnerable} with a known vulnerability.")
    return 1 if vulnerable else 0


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _line(each: dict[str, Any]) -> str:
    names = ", ".join(vuln["id"] for vuln in each.get("vulns", ()))
    return f"{each['name']} {each['version']}: {names}" if names else ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
