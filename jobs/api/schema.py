"""The description of the API, for programs and for people."""

from drf_spectacular.views import (
    SpectacularAPIView,
    SpectacularRedocView,
    SpectacularSwaggerSplitView,
)

from jobs.api.base import VIEW


class Schema(SpectacularAPIView):  # type: ignore[misc]
    """The description of the API, for programs."""

    rights = VIEW
    scoped = True


class Docs(SpectacularSwaggerSplitView):  # type: ignore[misc]
    """The description as a page to try; its script is an address, as the policy wants it."""

    rights = VIEW
    scoped = True
    template_name = "api/swagger.html"


class Redoc(SpectacularRedocView):  # type: ignore[misc]
    """The description as a page to read; without the fonts that its own template fetches."""

    rights = VIEW
    scoped = True
    template_name = "api/redoc.html"
