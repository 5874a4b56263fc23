"""Who is asking: an API token or a session; and whether their role lets them."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from jobs import origin, tokens
from jobs.models import ApiToken
from jobs.roles import Right, may, scope_of
from jobs.tokens import TokenRefused

if TYPE_CHECKING:  # it imports this module: the settings name it
    from rest_framework.views import APIView


class ApiTokenAuthentication(BaseAuthentication):
    """`Authorization: Token …`. No such header: the next way is tried."""

    keyword = "Token"

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """Return the token's user; `None` without the header. Raises `AuthenticationFailed`."""
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != self.keyword.lower().encode():
            return None
        if len(words) != 2:
            raise AuthenticationFailed("Use one header: Authorization: Token <the token>.")
        try:
            token = tokens.identify(words[1].decode("latin-1"))
        except TokenRefused as refusal:
            raise AuthenticationFailed(str(refusal)) from None
        origin.name_token(str(token))
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Return the value of WWW-Authenticate: with it, who is unknown gets 401 and not 403."""
        return self.keyword


class RolePermission(BasePermission):
    """A view says which right each of its methods needs; one that says nothing answers nobody.

    A token that is bound to queues is answered only by views that say how they heed that: `scoped`.
    """

    message = "Your role does not allow this. Ask an admin for a role or a token that does."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        rights: Mapping[str, Right] = getattr(view, "rights", {})
        right = right_of(rights, str(request.method), view.allowed_methods)
        if scope_of(request.user) is not None and not getattr(view, "scoped", False):
            self.message = "This token is bound to its queues, and this address is about all."
            return False
        return right is not None and may(request.user, right)


def right_of(rights: Mapping[str, Right], method: str, allowed: Collection[str]) -> Right | None:
    """Return the right that a method needs; `None`: nobody has it.

    What only describes the address, or will be answered with 405, needs the right to view.
    """
    if rights and (method == "OPTIONS" or method not in allowed):
        return "view"
    return rights.get("get" if method == "HEAD" else method.lower())
