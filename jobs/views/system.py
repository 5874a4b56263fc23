"""The system itself: stores, counts, stewards, versions, settings."""

from django.http import HttpResponse

from jobs.system import system as read
from jobs.views.door import Request, live, page


@page("view")
def system(request: Request) -> HttpResponse:
    return live(request, "system", {"system": read()})
