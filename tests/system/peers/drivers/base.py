"""What the harness asks of a job queue, whichever it is."""

import os
import subprocess
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import redis

ROOT = Path(__file__).parents[4]
PEERS = ROOT / ".peers"
BIN = PEERS / "venv" / "bin"
APPS = "tests.system.peers.apps"
WORKERS = 3


@dataclass(frozen=True)
class Driver:
    """One queue in one configuration. `held` and `failed` are read from its own records."""

    name: str
    label: str
    configuration: str
    why: str
    lease: float = 30  # seconds after which it takes a silent worker for lost
    patience: float = 120  # seconds after a fault that it is given to recover in

    def members(self, url: str) -> list[list[str]]:
        """The commands of one tree: three worker processes in all."""
        raise NotImplementedError

    def producer(self) -> list[str]:
        """The command that enqueues the job whose number it reads, one a line."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Further variables for the workers and the producer."""
        return {"PYTHONPATH": str(ROOT)}

    def prepare(self, folder: Path) -> AbstractContextManager[dict[str, str]]:
        """Run what it needs besides Redis for the length of a run; yields variables for it."""
        return nullcontext({})

    def held(self, client: "redis.Redis[str]") -> int:
        """How many jobs its store still holds that may yet run."""
        raise NotImplementedError

    def failed(self, client: "redis.Redis[str]") -> int:
        """How many jobs it has given up and says so."""
        return 0

    def version(self) -> str:
        raise NotImplementedError


def package_version(name: str) -> str:
    """The version of a Python package in the peers' environment."""
    code = f"from importlib.metadata import version; print(version({name!r}))"
    command = [str(BIN / "python"), "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def inherited() -> dict[str, str]:
    """The environment of a child, without what steers this project's own Django."""
    own = ("DJANGO_SETTINGS_MODULE", "MONGODB_URI", "REDIS_URL", "DATA_DIR", "REDIS_PREFIX")
    return {name: value for name, value in os.environ.items() if name not in own}
