"""A traceback without the frames that nobody looks for: of libraries, and of what calls a job."""

import re
from dataclasses import dataclass

FRAME = re.compile(r'  File "(?P<path>[^"]+)", line \d+')
LIBRARY = re.compile(r"/(site|dist)-packages/|/lib/python3[\d.]*/|^<frozen ")
OURS = ("/workers/execution.py", "/workers/coroutines.py", "/jobs/registry.py")


@dataclass(frozen=True)
class Folded:
    """The frames of a job's own code, and how many others there are."""

    text: str
    frames: int


def fold(text: str) -> Folded:
    """Return a traceback with each run of other frames as one line."""
    lines: list[str] = []
    total = run = 0
    inside = hidden = False
    for line in [*text.split("\n"), ""]:
        if frame := FRAME.match(line):
            inside, hidden = True, _is_others(frame["path"])
            run += hidden
            total += hidden
        elif not line.startswith("    ") and not line.startswith("  ["):
            inside = hidden = False
        if inside and hidden:
            continue
        if run:
            lines.append(f"  … {run} frame{'' if run == 1 else 's'} of other code")
            run = 0
        lines.append(line)
    return Folded("\n".join(lines[:-1]), total)


def _is_others(path: str) -> bool:
    return bool(LIBRARY.search(path)) or path.endswith(OURS)
