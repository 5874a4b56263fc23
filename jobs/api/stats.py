"""Counts, and what happened in the last minutes."""

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import counts, selectors
from jobs.api.base import VIEW, Endpoint
from jobs.api.openapi import documented, parameters
from jobs.errors import FieldError, OutOfScope
from jobs.serializers.queries import MinutesQuery
from jobs.serializers.stats import MinutesShape, StatsShape
from jobs.serializers.validation import read_query


class Stats(Endpoint):
    rights = VIEW

    @documented("stats", "Count jobs by state and by lane", StatsShape)
    def get(self, request: Request) -> Response:
        return Response(StatsShape.of(counts.stats()).answer())


class Minutes(Endpoint):
    rights = VIEW
    scoped = True

    @documented(
        "minutes",
        "Say what happened in each of the last minutes, and how long jobs waited and ran",
        MinutesShape,
        400,
        parameters=parameters(MinutesQuery),
    )
    def get(self, request: Request) -> Response:
        query = read_query(MinutesQuery, dict(request.GET.lists()))
        if self.scope is not None and query.queue not in self.scope:
            raise OutOfScope(FieldError("queue", f"Use one of: {', '.join(sorted(self.scope))}."))
        found = selectors.minutes(query.minutes, queue=query.queue, type=query.type)
        return Response(MinutesShape.of(found).answer())
