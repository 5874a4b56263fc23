"""Workers."""

from django.http import HttpResponse

from jobs import selectors
from jobs.views.door import Request, live, page


@page("view")
def workers(request: Request) -> HttpResponse:
    return live(request, "workers", {"workers": selectors.workers()})
