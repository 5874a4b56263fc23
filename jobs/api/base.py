"""What every endpoint has: rights, limits, the caller's queues."""

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, ParseError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs import limits, selectors
from jobs.errors import InvalidRequest, NotFound, RateLimited
from jobs.origin import address_of
from jobs.parsers import refuse_chunked
from jobs.roles import Right, may, scope_of

VIEW: Mapping[str, Right] = {"get": "view"}


class Endpoint(APIView):
    """One address. `rights` says what each method needs; without, it answers nobody.

    `scoped`: it heeds the queues that a token is bound to; without, it refuses such tokens.
    """

    rights: ClassVar[Mapping[str, Right]] = {}
    scoped: ClassVar[bool] = False

    limit: limits.Kind = "write"  # what a request that changes something counts as
    allowance: limits.Allowance | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        refuse_chunked(request.META)
        if request.method in SAFE_METHODS:
            self.take("read")
        elif self.limit != "submit":  # which counts jobs, once they have been read
            self.take(self.limit)

    def take(self, kind: limits.Kind, cost: int = 1) -> None:
        """Count this request against its caller's limit. Raises `RateLimited`."""
        request = self.request
        who = f"token:{request.auth.pk}" if request.auth else f"user:{request.user.pk}"
        self.allowance = limits.take(kind, who, cost)

    def handle_exception(self, exc: Exception) -> Response:
        """Answer an error. Failing counts too: by address where nobody knows who it was."""
        try:
            if isinstance(exc, NotAuthenticated | AuthenticationFailed):
                limits.take("unknown", address_of(self.request))
            elif isinstance(exc, InvalidRequest | ParseError) and self.allowance is None:
                self.take(self.limit)
        except RateLimited as refusal:
            exc = refusal
        return super().handle_exception(exc)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        answer = super().finalize_response(request, response, *args, **kwargs)
        for name, value in self.allowance.headers.items() if self.allowance else ():
            answer.headers.setdefault(name, value)
        return answer

    @property
    def actor(self) -> str:
        return str(self.request.user.get_username())

    @property
    def scope(self) -> frozenset[str] | None:
        return scope_of(self.request.user)

    @property
    def reveal(self) -> bool:
        """Whether the caller may search what payloads keep secret."""
        return may(self.request.user, "view_payload")

    def reach(self, queue: str, what: str) -> None:
        """Raise `NotFound` if the caller's token is for other queues: for it, `what` is not."""
        if self.scope is not None and queue not in self.scope:
            raise NotFound(f"There is no {what}.")

    def reach_job(self, id: str) -> None:
        """As `reach`, in the very words for a job that does not exist."""
        if self.scope is not None and selectors.job(id).queue not in self.scope:
            raise selectors.no_job(id)
