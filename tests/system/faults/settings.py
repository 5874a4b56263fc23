"""The project's settings for the child processes of a fault test: they know the ledger's types."""

import os
import select
import time

from taskqueue.settings import *  # noqa: F403
from taskqueue.settings import INSTALLED_APPS as OURS

INSTALLED_APPS = [*OURS, "tests.system.faults"]

if "FAKETIME" in os.environ:
    # libfaketime 0.9.10 answers EINVAL to the absolute, monotonic sleep that Python asks for.
    time.sleep = lambda seconds: select.select([], [], [], seconds) and None
