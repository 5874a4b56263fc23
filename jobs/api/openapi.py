"""How endpoints are described: answers, problems, parameters, headers, the token."""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from pydantic import BaseModel

from jobs import idempotency, problems
from jobs.api.base import Endpoint
from jobs.serializers.problems import ProblemShape
from jobs.waiting import Outcome

F = TypeVar("F", bound=Callable[..., Any])

PROBLEMS = {
    400: "The request cannot be accepted as it is; `errors` names each fault.",
    401: "No token and no session, or a wrong one.",
    403: "The role does not allow this.",
    404: "There is no such job, queue or address.",
    405: "Not this method here, or not an id but the name of another address.",
    409: "`illegal_move`: the job is in a state from which this move does not exist. "
    "`idempotency_conflict`: the key belongs to another request of yours; nothing was stored.",
    410: "The request was accepted before, and its job has ended and been deleted since.",
    413: "The body or a payload is over its limit.",
    415: "The body is not application/json.",
    429: "Too much within a minute; nothing was done. Retry-After says when to try again.",
    503: "MongoDB did not answer; Retry-After says when to try again.",
}


class Described(AutoSchema):  # type: ignore[misc]
    """Describes an endpoint by its summary: the texts of its class are for who works on it."""

    def get_description(self) -> str:
        return "" if isinstance(self.view, Endpoint) else str(super().get_description())


def documented(
    name: str, summary: str, answer: Any, *errors: int, status: int = 200, **more: Any
) -> Callable[[F], F]:
    """Describe an endpoint: what it answers, and which problems besides 401, 403, 429, 503."""
    responses: dict[Any, Any] = {
        (code, problems.CONTENT_TYPE): OpenApiResponse(ProblemShape, PROBLEMS[code])
        for code in sorted({401, 403, 429, 503, *errors} - {304})
    }
    if 304 in errors:
        responses[304] = OpenApiResponse(description="You have it already: see If-None-Match.")
    if answer is None:
        responses[status] = OpenApiResponse(description="Done; there is nothing to say.")
    else:
        responses[status, "application/json"] = answer
    described: Callable[[F], F] = extend_schema(
        operation_id=name,
        summary=summary,
        responses=responses,
        **more,
    )
    return described


def parameters(model: type[BaseModel]) -> list[Any]:
    """Return the description of an address's parameters."""
    return [
        OpenApiParameter(name, schema, description=schema.pop("description", ""))
        for name, schema in model.model_json_schema()["properties"].items()
    ]


REPLAYED = "Idempotency-Replayed"

KEYED = [
    OpenApiParameter(
        idempotency.FIELD,
        str,
        OpenApiParameter.HEADER,
        pattern=idempotency.KEY.pattern,
        description="Names this request, so that it may be sent again when its answer was lost: "
        "for 24 hours, the same request under the same key gets the same ids, and is not stored "
        "twice. 1 to 200 printable ASCII characters, for example a new UUID for each request.",
    ),
    OpenApiParameter(
        REPLAYED,
        str,
        OpenApiParameter.HEADER,
        response=[201],
        description="`true` if the request had been accepted before, under the same key.",
    ),
]

KEYED_OPERATION = [
    OpenApiParameter(
        idempotency.FIELD,
        str,
        OpenApiParameter.HEADER,
        pattern=idempotency.KEY.pattern,
        description="As for jobs. Without one the token itself does as much: used again, it "
        "answers the same operation.",
    ),
    OpenApiParameter(
        REPLAYED,
        str,
        OpenApiParameter.HEADER,
        response=[200, 202],
        description="`true` if this operation had been started before.",
    ),
]

WAITED = "Wait-Outcome"

TAGGED = [
    OpenApiParameter(
        "If-None-Match",
        str,
        OpenApiParameter.HEADER,
        description="The ETag of the answer you have: if nothing changed, you get 304.",
    ),
    OpenApiParameter(
        "ETag", str, OpenApiParameter.HEADER, response=[200, 304], description="Of this answer."
    ),
    OpenApiParameter(
        WAITED,
        str,
        OpenApiParameter.HEADER,
        response=[200, 304],
        enum=get_args(Outcome),
        description="With `wait`, unless the job had ended before: whether it ended, the time was "
        "over, or there was no room to wait, so that the answer came at once: ask again later.",
    ),
]


class ApiTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[misc]
    """How the API's description names the token."""

    target_class = "jobs.authentication.ApiTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Token ` and what `manage.py apitoken NAME --role …` printed.",
        }
