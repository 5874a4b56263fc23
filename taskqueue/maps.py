"""Starts this project without map libraries, which it has no use for.

The MongoDB backend asks three times whether there are any, and Django looks for them by starting
dozens of programs: half a second of every start.
"""

import sys
from types import ModuleType
from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured


class _LeftOut(ModuleType):
    """A module that is not usable, as Django says it of a library that is not installed."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)  # what Python itself asks of every module
        raise ImproperlyConfigured("This project leaves maps out: see taskqueue/maps.py.")


def leave_out() -> None:
    """Have the backend find at once that there are none. It must come before its import."""
    for name in ("django.contrib.gis.gdal", "django.contrib.gis.geos"):
        sys.modules.setdefault(name, _LeftOut(name))
