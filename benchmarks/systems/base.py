"""What the runner asks of a job queue, whichever it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".peers" / "bench"
PROCESSES = 3
THROUGHPUT = frozenset({"enqueue", "drain", "pickup", "mixed", "idle"})


class NotInstalled(Exception):
    """The queue is not on this machine; the message says how it gets there."""


@dataclass(frozen=True)
class System:
    """One queue in one configuration. The texts go into the document as they are."""

    name: str
    label: str
    settings: str  # how it is run here
    lacks: str  # what it does not do that this project does
    jobs: int = 20_000  # of one drain: what takes some seconds
    works: frozenset[str] = THROUGHPUT  # the workloads that it is given
    unfit: Mapping[str, str] = field(default_factory=dict)  # why not the others
    bulk: str = ""  # the call that accepts many; empty: it has none
    needs: frozenset[str] = frozenset()  # "mongodb": a database of its own beside Redis
    own: bool = False  # its jobs are in MongoDB, and a drain ends when they are recorded there

    def workers(self, mode: str) -> list[list[str]]:
        """The commands of three worker processes: quick jobs, or "io" for those that wait."""
        raise NotImplementedError

    def client(self) -> list[str]:
        """The command that enqueues on orders from the runner."""
        raise NotImplementedError

    def web(self, port: int) -> list[str]:
        """The command that serves its API over HTTP; empty: it is asked by its client."""
        return []

    def environment(self, mode: str) -> dict[str, str]:
        """Further variables for workers and client."""
        return {}

    def version(self) -> str:
        """Its version, from its own package; raises `NotInstalled`."""
        raise NotImplementedError
