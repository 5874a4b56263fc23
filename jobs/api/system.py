"""The system: stores, counts, stewards, versions, settings."""

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import system
from jobs.api.base import VIEW, Endpoint
from jobs.api.openapi import documented
from jobs.serializers.system import SystemShape


class System(Endpoint):
    rights = VIEW

    @documented(
        "show_system",
        "Show the stores, counts, stewards, versions and settings",
        SystemShape,
    )
    def get(self, request: Request) -> Response:
        return Response(SystemShape.of(system.system()).answer())
