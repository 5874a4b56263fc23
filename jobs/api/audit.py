"""The audit: what people and programs did."""

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import selectors
from jobs.api.base import Endpoint
from jobs.api.openapi import documented, parameters
from jobs.serializers.audit import AuditList
from jobs.serializers.queries import AuditQuery
from jobs.serializers.validation import read_query


class Audit(Endpoint):
    rights = {"get": "view_audit"}

    @documented(
        "list_audit",
        "List what people did and what they were refused, the newest first",
        AuditList,
        400,
        parameters=parameters(AuditQuery),
    )
    def get(self, request: Request) -> Response:
        query = read_query(AuditQuery, dict(request.GET.lists()))
        page = selectors.audit(query.chosen(), cursor=query.cursor, size=query.limit)
        found = {"results": page.entries, "next": page.next_cursor}
        return Response(AuditList.model_validate(found).answer())
