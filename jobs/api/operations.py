"""Bulk operations."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from jobs import idempotency, selectors, services
from jobs.api.base import VIEW, Endpoint
from jobs.api.openapi import KEYED_OPERATION, REPLAYED, documented, parameters
from jobs.errors import FieldError, InvalidRequest
from jobs.roles import check_operation
from jobs.serializers.operations import OperationList, OperationShape, PreviewShape
from jobs.serializers.queries import OperationsQuery
from jobs.serializers.requests import Frozen, NothingRequest, PreviewRequest
from jobs.serializers.validation import read, read_query


class Operations(Endpoint):
    rights = {"get": "view", "post": "bulk"}

    @documented(
        "list_operations",
        "List bulk operations, the newest first",
        OperationList,
        400,
        parameters=parameters(OperationsQuery),
    )
    def get(self, request: Request) -> Response:
        query = read_query(OperationsQuery, dict(request.GET.lists()))
        page = selectors.operations(cursor=query.cursor, size=query.limit)
        found = {"results": page.operations, "next": page.next_cursor}
        return Response(OperationList.model_validate(found).answer())

    @documented(
        "start_operation",
        "Do what was previewed to just these jobs, in the background",
        OperationShape,
        *(400, 409, 415),
        status=202,
        request=Frozen,
        parameters=KEYED_OPERATION,
    )
    def post(self, request: Request) -> Response:
        started = start(self, request)
        address = reverse("api:operation", [started.id], request=request)
        headers = {"Location": address, **replayed(started)}
        return Response(_operation(started.id), status=202, headers=headers)


class OperationPreview(Endpoint):
    rights = {"post": "bulk"}

    @documented(
        "preview_operation",
        "Show which jobs an operation would touch, and get a token for just these",
        PreviewShape,
        *(400, 415),
        request=PreviewRequest,
    )
    def post(self, request: Request) -> Response:
        asked = read(PreviewRequest, request.data)
        check_operation(request.user, asked.action)
        chosen = asked.filter.chosen()
        return previewed(
            services.preview(asked.action, chosen, actor=self.actor, reveal=self.reveal)
        )


class OperationDetail(Endpoint):
    rights = VIEW

    @documented(
        "show_operation",
        "Show how far it has come",
        OperationShape,
        *(400, 404, 405),  # `preview` is no id
    )
    def get(self, request: Request, id: str) -> Response:
        return Response(_operation(id))


class OperationStop(Endpoint):
    rights = {"post": "bulk"}

    @documented(
        "stop_operation",
        "Stop it after the batch in hand; what is done stays done",
        OperationShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        read(NothingRequest, request.data)
        services.stop_operation(id, actor=self.actor)
        return Response(_operation(id))


class OperationResume(Endpoint):
    rights = {"post": "bulk"}

    @documented(
        "resume_operation",
        "Let it go on where it was stopped or failed",
        OperationShape,
        *(400, 404, 409),
        request=NothingRequest,
    )
    def post(self, request: Request, id: str) -> Response:
        read(NothingRequest, request.data)
        check_operation(request.user, selectors.operation(id).action)
        services.resume_operation(id, actor=self.actor)
        return Response(_operation(id))


def start(endpoint: Endpoint, request: Request, *, only: str = "") -> services.Started:
    """Start the operation that the request's token stands for, if the caller may.

    Raises `InvalidRequest` for one that is not the `only` action that may be started here.
    """
    token = read(Frozen, request.data).token
    frozen = services.read_token(token, actor=endpoint.actor)
    if only and frozen.action != only:
        fault = f"It is of a preview to {frozen.action}: nothing was done. Start it by operations/."
        raise InvalidRequest(FieldError("token", fault))
    check_operation(request.user, frozen.action)
    key = request.headers.get(idempotency.FIELD)
    return services.start_operation(frozen, actor=endpoint.actor, key=key)


def previewed(preview: services.Preview) -> Response:
    """Answer with what an operation would touch."""
    return Response(PreviewShape.model_validate(preview).answer())


def replayed(started: services.Started) -> dict[str, str]:
    """Return the header that says so if the operation had been started before."""
    return {REPLAYED: "true"} if started.replayed else {}


def _operation(id: str) -> dict[str, Any]:
    return OperationShape.model_validate(selectors.operation(id)).answer()
