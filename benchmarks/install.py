"""`python -m benchmarks.install`: the peers, in environments of their own under .peers/bench.

What cannot be installed is said and left out: the run then reports it as not installed. Sidekiq is
Debian's: `apt-get install ruby-sidekiq`.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.systems import SYSTEMS
from benchmarks.systems.base import PEERS, ROOT, NotInstalled

REQUIREMENTS = ROOT / "benchmarks" / "peers"
SHARED = ROOT / "tests" / "system" / "peers"  # the same versions as in `make peers`


def main() -> None:
    PEERS.mkdir(parents=True, exist_ok=True)
    shared = [SHARED / "requirements.txt"]
    once("venv", [REQUIREMENTS / "requirements.txt", *shared], python_environment)
    once("arq", [REQUIREMENTS / "requirements-arq.txt"], python_environment)
    once("node_modules", [SHARED / "package.json", SHARED / "package-lock.json"], node_modules)
    for system in SYSTEMS.values():
        try:
            system.version()
        except NotInstalled as error:
            print(f"{system.label} is not installed: {error}.")


def once(name: str, sources: list[Path], install: Callable[[str, list[Path]], None]) -> None:
    """Install unless that was done from the very same files."""
    wanted = "".join(path.read_text() for path in sources)
    stamp = PEERS / f"{name}.installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Setting up .peers/bench/{name} (once, a minute)", flush=True)
    try:
        install(name, sources)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"That failed: {error}; see .peers/bench/{name}.log.")
    else:
        stamp.write_text(wanted)


def python_environment(name: str, sources: list[Path]) -> None:
    place = PEERS / name
    run(name, [sys.executable, "-m", "venv", str(place)])
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    run(name, [*pip, "-r", str(sources[0])])


def node_modules(name: str, sources: list[Path]) -> None:
    for source in sources:
        shutil.copy(source, PEERS)
    options = ["--ignore-scripts", "--no-audit", "--no-fund"]
    run(name, ["npm", "ci", "--prefix", str(PEERS), *options])


def run(name: str, command: list[str]) -> None:
    with (PEERS / f"{name}.log").open("ab") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


if __name__ == "__main__":
    main()
