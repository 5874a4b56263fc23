"""This project's settings, and the app with the harness's job type."""

from taskqueue.settings import *  # noqa: F403
from taskqueue.settings import INSTALLED_APPS as STANDARD

INSTALLED_APPS = [*STANDARD, "tests.system.peers.ours"]
