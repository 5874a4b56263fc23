"""Django's admin, open to whoever has a right: what it shows and lets do is a matter of rights."""

from django.contrib.admin import AdminSite
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest

from jobs.roles import rights_of


class Site(AdminSite):
    """The admin. That a user `is_staff` means nothing here."""

    site_header = site_title = "taskqueue"
    site_url = "/"  # the dashboard
    login_form = AuthenticationForm

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(rights_of(request.user))
