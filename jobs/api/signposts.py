"""What lies below an address, and what any other address answers."""

from django.http import HttpRequest, HttpResponseBase
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from jobs import problems
from jobs.api.base import VIEW, Endpoint


class Signpost(Endpoint):
    """The addresses below this one, by what they are called."""

    rights = VIEW
    scoped = True
    names: dict[str, str] = {}

    @extend_schema(exclude=True)  # type: ignore[untyped-decorator]
    def get(self, request: Request) -> Response:
        links = {label: reverse(name, request=request) for label, name in self.names.items()}
        return Response(links)


class Versions(Signpost):
    names = {"v1": "api:v1", "schema": "api:schema", "docs": "api:docs", "redoc": "api:redoc"}


class Endpoints(Signpost):
    names = {
        label: f"api:{label}"
        for label in (
            *("jobs", "bulk", "dead", "dead-groups", "operations", "stats", "minutes"),
            *("queues", "workers", "types", "system", "audit"),
        )
    }


@csrf_exempt  # it passes requests on to endpoints, which look after that themselves
def elsewhere(request: HttpRequest, path: str) -> HttpResponseBase:
    """Answer any other address: as if it ended in a slash if there is such a one, else 404.

    A redirect would turn a POST into a GET.
    """
    try:
        match = resolve(f"{request.path_info}/")
    except Resolver404:
        match = None
    if path.endswith("/") or match is None or match.func is elsewhere:
        return problems.response(problems.Problem(404, "There is nothing at this address."))
    answer: HttpResponseBase = match.func(request, *match.args, **match.kwargs)
    return answer
