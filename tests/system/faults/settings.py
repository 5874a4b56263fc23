"""The project's settings for the child processes of a fault test: they know the ledger's types."""

from taskqueue.settings import *  # noqa: F403
from taskqueue.settings import INSTALLED_APPS as OURS

INSTALLED_APPS = [*OURS, "tests.system.faults"]
