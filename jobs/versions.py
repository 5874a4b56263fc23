"""Which versions run here."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("Django", "django-mongodb-backend", "pymongo", "redis", "djangorestframework")


@cache
def own() -> str:
    """Return the version of this package."""
    try:
        return version("taskqueue")
    except PackageNotFoundError:  # run from a checkout
        return "0.1.0"


@cache
def of_packages() -> dict[str, str]:
    """Return the versions of what this package stands on, by name."""
    return {"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
