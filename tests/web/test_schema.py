"""The API's description of itself."""

import io
from collections.abc import Callable

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

from jobs.api.urls import urlpatterns
from tests.web.actors import api

pytestmark = pytest.mark.usefixtures("stores")


def test_the_description_is_valid_and_complete() -> None:
    out = io.StringIO()
    options = {"validate": True, "fail_on_warn": True}
    call_command("spectacular", stdout=out, **options)
    described = yaml.safe_load(out.getvalue())
    routes = {
        f"/api/{pattern.pattern}".replace("<str:", "{").replace(">", "}")
        for pattern in urlpatterns
        if str(pattern.pattern).startswith("v1/") and str(pattern.pattern) != "v1/"
    }
    assert routes == {path for path in described["paths"] if path.startswith("/api/v1/")}
    submit = described["paths"]["/api/v1/jobs/"]["post"]
    codes = {"201", "400", "401", "403", "409", "410", "413", "415", "429", "503"}
    assert codes == set(submit["responses"])
    assert list(submit["responses"]["400"]["content"]) == ["application/problem+json"]
    assert "token" in described["components"]["securitySchemes"]
    bulk = described["paths"]["/api/v1/jobs/bulk/"]["post"]
    for each in (submit, bulk):
        assert [(p["name"], p["in"]) for p in each["parameters"]] == [("Idempotency-Key", "header")]
        assert list(each["responses"]["201"]["headers"]) == ["Idempotency-Replayed"]
        assert "idempotency_conflict" in each["responses"]["409"]["description"]


def test_an_operation_says_nothing_to_who_works_on_the_code() -> None:
    paths = api().client.get("/api/schema/?format=json").json()["paths"].values()
    operations = [operation for path in paths for operation in path.values()]
    said = {operation["description"] for operation in operations if operation.get("description")}
    assert said == {"The description of the API, for programs."}
    assert sum("summary" in operation for operation in operations) == len(operations) - 1


def test_an_answer_is_as_described() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    caller = api()
    described = caller.client.get("/api/schema/?format=json").json()
    body = {"type": "send_email", "payload": {"to": "a@example.org", "subject": "Hi"}}
    job = caller.post("jobs/", body).json()
    for name, value in (("JobShape", job), ("JobRequest", body)):
        schema = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
        jsonschema.validate(value, schema)


def test_the_pages_about_it_load_nothing_from_elsewhere() -> None:
    client = api("viewer").client
    for path in ("/api/docs/", "/api/redoc/"):
        page = client.get(path).content.decode()
        assert "/static/drf_spectacular_sidecar/" in page
        assert 'src="http' not in page
        assert 'href="http' not in page
        assert "cdn" not in page


@pytest.mark.parametrize("address", ["jobs/bulk/", "operations/preview/"])
def test_a_word_that_is_no_id_but_another_address_is_described(
    client_of: Callable[..., Client], address: str
) -> None:
    client = client_of("viewer")
    assert client.get(f"/api/v1/{address}").status_code == 405
    paths = client.get("/api/schema/?format=json").json()["paths"]
    resource = address.split("/")[0]
    assert "405" in paths[f"/api/v1/{resource}/{{id}}/"]["get"]["responses"]
