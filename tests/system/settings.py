"""The project's settings for the trees of these tests, which know the job types of `tasks` too."""

from taskqueue.settings import *  # noqa: F403
from taskqueue.settings import INSTALLED_APPS as OURS

INSTALLED_APPS = [*OURS, "tests.system"]
