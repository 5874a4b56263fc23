"""Which version this is."""

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


@cache
def version() -> str:
    """Return the version of the package, whether it is installed or run from a checkout."""
    try:
        return installed("taskqueue")
    except PackageNotFoundError:
        return "0.1.0"
