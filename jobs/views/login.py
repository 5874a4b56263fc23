"""Where sessions begin."""

from django.contrib.auth.views import LoginView


class LoginPage(LoginView):
    """Where sessions begin."""

    template_name = "login.html"
    redirect_authenticated_user = True
