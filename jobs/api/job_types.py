"""Job types."""

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import selectors
from jobs.api.base import VIEW, Endpoint
from jobs.api.openapi import documented
from jobs.serializers.job_types import TypeList, TypeShape


class Types(Endpoint):
    rights = VIEW
    scoped = True

    @documented("list_types", "List the job types, each with its schema", TypeList)
    def get(self, request: Request) -> Response:
        found = [TypeShape.of(job_type) for job_type in selectors.job_types()]
        return Response(TypeList(results=found).answer())


class TypeDetail(Endpoint):
    rights = VIEW
    scoped = True

    @documented("show_type", "Show a job type with its schema", TypeShape, 404)
    def get(self, request: Request, name: str) -> Response:
        return Response(TypeShape.of(selectors.job_type(name)).answer())
