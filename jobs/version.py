"""Which version of taskqueue this process runs: pages flag workers that run another."""

from functools import cache
from importlib import metadata


@cache
def version() -> str:
    """Return the version of the installed package, or of this checkout."""
    try:
        return metadata.version("taskqueue")
    except metadata.PackageNotFoundError:
        return "0.1.0"
