"""This project's settings, and the app with the benchmark's job types."""

from taskqueue.settings import *  # noqa: F403
from taskqueue.settings import INSTALLED_APPS as STANDARD

INSTALLED_APPS = [*STANDARD, "benchmarks.ours"]
