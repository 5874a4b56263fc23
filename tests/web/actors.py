"""Who calls the API in these tests, and the jobs they find there."""

import json
import time
from typing import Any

from bson import ObjectId
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from jobs import repository, roles, services, tokens
from jobs.clients import collection

MAIL = {"to": "a@example.org", "subject": "Hi"}


def user(role: str | None = None, name: str = "") -> User:
    """Make a user; `None`: without any role."""
    made = User.objects.create_user(name or f"{role or 'nobody'}-{ObjectId()}")
    if role:
        roles.give(made, role)  # type: ignore[arg-type]
    return made


class Api:
    """A client of the API; without a user, an anonymous one. `bounds`: see `tokens.issue`."""

    def __init__(self, who: User | None = None, **bounds: Any) -> None:
        token = tokens.issue(who, **bounds)[1] if who else ""
        headers = {"Authorization": f"Token {token}"} if who else {}
        self.name = who.get_username() if who else ""
        self.client = Client(raise_request_exception=True, headers=headers)

    def get(self, path: str, **query: Any) -> HttpResponse:
        return self.client.get(f"/api/v1/{path}", query)

    def post(self, path: str, body: Any = None, **extra: Any) -> HttpResponse:
        data = body if isinstance(body, bytes | str) else json.dumps({} if body is None else body)
        extra = {"content_type": "application/json", **extra}
        return self.client.post(f"/api/v1/{path}", data, **extra)

    def delete(self, path: str) -> HttpResponse:
        return self.client.delete(f"/api/v1/{path}")


def api(role: str | None = "operator") -> Api:
    """Return a client with that role."""
    return Api(user(role))


def submitted(**chosen: Any) -> str:
    """Accept one e-mail and return its id."""
    return services.enqueue("send_email", MAIL, **chosen)


def dead(**chosen: Any) -> str:
    """Have one e-mail fail for good and return its id."""
    id = submitted(max_attempts=1, **chosen)
    worker = ObjectId()
    (job,) = repository.claim([ObjectId(id)], worker)
    moment = time.monotonic()
    failed = {"error_type": "ValueError", "error": "boom", "traceback": "Traceback: <b>boom</b>"}
    services.record(worker, [services.failure(job, started=moment - 1, ended=moment, **failed)])
    return id


def stored() -> int:
    """Return how many jobs there are."""
    return collection("jobs").count_documents({})


def problem(response: HttpResponse, status: int) -> dict[str, Any]:
    """Return the problem object of an answer, once its status and its shape are as they must be."""
    assert response.status_code == status, response.content[:500]
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(response.content)
    assert set(body) == {"type", "title", "status", "code", "detail", "errors"}
    assert body["status"] == status
    assert body["detail"]
    return body


def fields(response: HttpResponse, status: int = 400) -> list[str]:
    """Return the fields that a problem names."""
    return [error["field"] for error in problem(response, status)["errors"]]
