"""Django's admin, open to whoever has a right: what it shows and lets do is a matter of rights."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest

from jobs.roles import rights_of


class Site(AdminSite):
    """The admin. That a user `is_staff` means nothing here."""

    site_header = site_title = "taskqueue"
    site_url = "/"  # the dashboard
    login_form = AuthenticationForm

    def get_urls(self) -> list[Any]:
        # No model has a page of its own to be viewed on, and a bad id there would be a 500.
        return [url for url in super().get_urls() if getattr(url, "name", "") != "view_on_site"]

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(rights_of(request.user))
