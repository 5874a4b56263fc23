"""Every address. The API is versioned; pages carry no prefix."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.utils.functional import lazy
from django.views.generic import RedirectView

from taskqueue import probes

handler500 = "jobs.problems.server_error"

urlpatterns = [
    path("", include("jobs.urls")),
    path("api/", include("jobs.api.urls")),
    path("admin/", admin.site.urls),
    path("healthz", probes.healthz, name="healthz"),
    path("readyz", probes.readyz, name="readyz"),
    path("metrics", probes.metrics, name="metrics"),
    # Where browsers look on pages that name no icon: those of the admin.
    path("favicon.ico", RedirectView.as_view(url=lazy(static, str)("favicon.svg"))),
]
