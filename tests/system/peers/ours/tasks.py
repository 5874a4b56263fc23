"""The job type."""

from jobs import job
from tests.system.peers.ledger import perform


@job
def fault(number: int) -> None:
    perform(number)
