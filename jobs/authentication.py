"""Who is asking: an API token or a session; and whether their role lets them."""

import hashlib
import secrets
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from jobs.models import ApiToken
from jobs.roles import Right, may

if TYPE_CHECKING:  # it imports this module: the settings name it
    from rest_framework.views import APIView


def issue_token(user: User) -> str:
    """Make a token for `user` and return it: this once, since only its SHA-256 is kept."""
    token = secrets.token_urlsafe(32)
    ApiToken.objects.create(user=user, digest=digest(token))
    return token


def digest(token: str) -> str:
    """Return what is kept of a token. A plain hash is enough: a token is 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


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
        found = ApiToken.objects.filter(digest=digest(words[1].decode("latin-1")))
        token = found.select_related("user").first()
        if token is None or not token.user.is_active:
            raise AuthenticationFailed("This token is unknown, deleted, or of an inactive user.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Return the value of WWW-Authenticate: with it, who is unknown gets 401 and not 403."""
        return self.keyword


class RolePermission(BasePermission):
    """A view says which right each of its methods needs; one that says nothing answers nobody."""

    message = "Your role does not allow this. Ask an admin for a role that does."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        rights: Mapping[str, Right] = getattr(view, "rights", {})
        right = right_of(rights, str(request.method), view.allowed_methods)
        return right is not None and may(request.user, right)


def right_of(rights: Mapping[str, Right], method: str, allowed: Collection[str]) -> Right | None:
    """Return the right that a method needs; `None`: nobody has it.

    What only describes the address, or will be answered with 405, needs the right to view.
    """
    if rights and (method == "OPTIONS" or method not in allowed):
        return "view"
    return rights.get("get" if method == "HEAD" else method.lower())
