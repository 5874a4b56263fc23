"""Secrets: masked for people, whole for the function, in no error text, encrypted if asked for."""

from typing import Any

import pytest
from bson import ObjectId
from cryptography.fernet import Fernet
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from pydantic import BaseModel, Secret, SecretStr

from jobs import checks, job, registry, repository, requests, secrets, selectors, services
from jobs.clients import collection
from jobs.context import never
from jobs.secrets import MASK
from workers import execution

pytestmark = pytest.mark.usefixtures("stores")
SECRET = 'hunter2-"quoted"'
KEYS = [Fernet.generate_key().decode() for _ in range(2)]
seen: list[Any] = []


class Login(BaseModel):
    name: str
    key: SecretStr


@pytest.fixture(autouse=True)
def _job_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_types", dict(registry._types))
    seen.clear()

    @job(name="secretive", max_attempts=1)
    def secretive(
        pin: SecretStr,
        login: Login | None = None,
        many: list[SecretStr] = [],  # noqa: B006 - a signature, not state
        headers: dict[str, str] = {},  # noqa: B006
        note: str = "plain",
        fail: bool = False,
    ) -> dict[str, Any]:
        seen.append((pin, login, many))
        if fail:
            raise ValueError(f"cannot log in with {pin.get_secret_value()!r}")
        return {"note": note, "token": "tok-123456", "said": f"used {pin.get_secret_value()}"}


PAYLOAD = {
    "pin": SECRET,
    "login": {"name": "ann", "key": "key-of-ann"},
    "many": ["first-secret", "second-secret"],
    "headers": {"Authorization": "Bearer abcdef", "Accept": "text/html"},
}


def run(id: str) -> Any:
    worker = ObjectId()
    (claimed,) = repository.claim([ObjectId(id)], worker)
    end = execution.execute(claimed, never)
    services.record(worker, [end])
    return collection("jobs").find_one({"_id": ObjectId(id)})


def test_a_secret_reaches_the_function_whole_and_typed() -> None:
    run(services.enqueue("secretive", PAYLOAD))
    ((pin, login, many),) = seen
    assert isinstance(pin, SecretStr)
    assert pin.get_secret_value() == SECRET
    assert login.key.get_secret_value() == "key-of-ann"
    assert [one.get_secret_value() for one in many] == ["first-secret", "second-secret"]


def test_secrets_are_masked_by_type_and_by_name_wherever_they_are() -> None:
    id = services.enqueue("secretive", PAYLOAD)
    run(id)
    found = selectors.job(id)
    assert found.payload == {
        "pin": MASK,
        "login": {"name": "ann", "key": MASK},
        "many": [MASK, MASK],
        "headers": {"Authorization": MASK, "Accept": "text/html"},
        "note": "plain",
        "fail": False,
    }
    assert found.result == {"note": "plain", "token": MASK, "said": f"used {MASK}"}
    assert selectors.job(id, reveal=True).payload["pin"] == SECRET


def test_of_an_unknown_type_no_text_is_shown() -> None:
    masked = secrets.mask("gone", {"a": "text", "n": 3, "deep": [{"b": "text"}], "none": None})
    assert masked == {"a": MASK, "n": 3, "deep": [{"b": MASK}], "none": None}


@pytest.mark.parametrize("fail", [True, "not a truth"], ids=["valid", "invalid"])
def test_of_what_was_typed_only_secrets_are_masked(fail: Any) -> None:
    masked = secrets.mask_given(
        "secretive", {**PAYLOAD, "fail": fail, "note": "http://Example.org"}
    )
    assert masked == {
        "pin": MASK,
        "login": {"name": "ann", "key": MASK},
        "many": [MASK, MASK],
        "headers": {"Authorization": MASK, "Accept": "text/html"},
        "note": "http://Example.org",
        "fail": fail,
    }
    assert secrets.mask_given("secretive", masked) == masked


def test_what_was_typed_in_another_shape_than_a_secret_has_is_masked_whole() -> None:
    typed = {"pin": [SECRET], "login": [{"n": SECRET}], "many": {"a": SECRET}, "pni": SECRET}
    masked = {"pin": MASK, "login": [MASK], "many": {"a": MASK}, "pni": MASK}
    assert secrets.mask_given("secretive", typed) == masked
    empty = {"pin": "", "login": None, "many": [], "headers": {"token": ""}}
    assert secrets.mask_given("secretive", empty) == empty
    assert secrets.mask_given("gone", {"a": "text"}) == {"a": MASK}


def test_of_a_choice_with_a_secret_in_it_all_is_masked() -> None:
    @job(name="choosing")
    def choosing(
        key: Login | SecretStr | int,
        pair: tuple[str, SecretStr],
        named: dict[str, Login],
        pin: Secret[int],
    ) -> None: ...

    typed = {
        "key": {"name": "ann", "key": SECRET},
        "pair": ["ann", SECRET, SECRET],
        "named": {"a": {"name": "ann", "key": SECRET}},
        "pin": 123456,
    }
    assert secrets.mask_given("choosing", typed) == {
        "key": {"name": MASK, "key": MASK},
        "pair": ["ann", MASK, MASK],
        "named": {"a": {"name": "ann", "key": MASK}},
        "pin": MASK,
    }


def test_a_choice_beside_a_secret_that_is_not_in_it_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Colour(BaseModel):
        name: str

    @job(name="painting")
    def painting(colours: list[Colour | int], login: Login | None = None) -> None: ...

    asked = []
    told = secrets.holds_secrets
    monkeypatch.setattr(secrets, "holds_secrets", lambda *a: asked.append(a) or told(*a))
    typed = {"colours": [3, {"name": "red"}] * 500}
    assert secrets.mask_given("painting", typed) == typed
    assert len(asked) < 10  # of each part once, however long a list is


def test_a_secret_is_taken_out_of_the_error_and_the_traceback() -> None:
    document = run(services.enqueue("secretive", {"pin": SECRET, "fail": True}))
    assert document["status"] == "dead"
    (attempt,) = document["attempts"]
    for text in (document["error"], attempt["error"], attempt["traceback"]):
        assert "hunter2" not in text
        assert MASK in text


def test_of_a_payload_that_fits_no_longer_no_piece_is_in_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @job(name="moved_on", max_attempts=1)
    def before(to: str, login: Login, password: SecretStr) -> None: ...

    id = services.enqueue(
        "moved_on",
        {
            "to": "ann",
            "login": {"name": "ann", "key": "key-of-ann-that-is-long"},
            "password": "hunter2-and-some-more-that-makes-it-longer-than-fifty",
        },
    )
    monkeypatch.delitem(registry._types, "moved_on")

    @job(name="moved_on", max_attempts=1)
    def after(to: str, login: dict[str, int], password: SecretStr, url: str) -> None: ...

    document = run(id)
    (attempt,) = document["attempts"]
    assert attempt["error_type"] == "ValidationError"
    assert "Field required" in document["error"]
    for text in (document["error"], attempt["error"], attempt["traceback"]):
        for piece in ("hunter2", "fifty", "key-of", "is-long", "input_value"):
            assert piece not in text


def test_two_secrets_are_two_requests_and_neither_is_in_the_idempotency_record() -> None:
    for given in (SECRET, SecretStr(SECRET)):
        services.enqueue("secretive", {"pin": given}, key=f"k-{type(given).__name__}")
    with pytest.raises(services.IdempotencyConflict):
        services.enqueue("secretive", {"pin": SecretStr("another")}, key="k-SecretStr")
    assert "hunter2" not in str(list(collection("requests").find()))


def test_the_schema_says_that_it_is_a_password() -> None:
    schema = registry._types["secretive"].schema.model_json_schema()["properties"]["pin"]
    assert (schema["format"], schema["writeOnly"]) == ("password", True)


def test_what_is_typed_secret_otherwise_reaches_the_function_too() -> None:
    @job(name="numbered")
    def numbered(pin: Secret[int], many: list[Secret[dict[str, int]]]) -> None:
        seen.append((pin, *many))

    id = services.enqueue("numbered", {"pin": 123456, "many": [{"a": 7}]})
    assert run(id)["status"] == "completed"
    assert [one.get_secret_value() for one in seen[0]] == [123456, {"a": 7}]
    assert selectors.job(id).payload == {"pin": MASK, "many": [MASK]}
    schema = numbered.schema.model_json_schema()["properties"]
    assert schema["pin"] == {"title": "Pin", "type": "integer", "writeOnly": True}


def test_with_keys_nothing_is_stored_in_clear(settings: LazySettings) -> None:
    settings.PAYLOAD_KEYS = KEYS[:1]
    id = services.enqueue("secretive", PAYLOAD)
    document = run(id)
    assert document["status"] == "completed"
    assert "hunter2" not in str(document)
    assert "tok-123456" not in str(document)
    assert "ann" not in str(document["payload"])
    assert selectors.job(id, reveal=True).result["token"] == "tok-123456"


def test_without_its_key_a_job_fails_and_says_so(settings: LazySettings) -> None:
    settings.PAYLOAD_KEYS = KEYS[:1]
    id = services.enqueue("secretive", PAYLOAD)
    settings.PAYLOAD_KEYS = KEYS[1:]
    document = run(id)
    assert document["status"] == "dead"
    assert document["attempts"][0]["error_type"] == "Undecryptable"
    assert "PAYLOAD_KEYS" in document["error"]
    assert "PAYLOAD_KEYS" in selectors.job(id).payload["undecryptable"]
    settings.PAYLOAD_KEYS = [KEYS[1], KEYS[0]]
    services.requeue(id, actor="ann")
    assert run(id)["status"] == "completed"


def test_rotation_brings_everything_under_the_first_key(settings: LazySettings) -> None:
    clear = services.enqueue("secretive", PAYLOAD)
    settings.PAYLOAD_KEYS = KEYS[:1]
    old = services.enqueue("secretive", PAYLOAD)
    run(old)
    settings.PAYLOAD_KEYS = [KEYS[1], KEYS[0]]
    assert services.rotate_payload_keys() == services.Rotated(3, 0)
    assert services.rotate_payload_keys() == services.Rotated(0, 0)
    settings.PAYLOAD_KEYS = KEYS[1:]
    assert run(clear)["status"] == "completed"
    assert selectors.job(old, reveal=True).payload["pin"] == SECRET
    settings.PAYLOAD_KEYS = KEYS[:1]
    with pytest.raises(CommandError, match="under a key that PAYLOAD_KEYS does not have"):
        call_command("rotate_payload_keys")


def test_a_malformed_key_is_named_by_its_place_and_not_shown(settings: LazySettings) -> None:
    settings.PAYLOAD_KEYS = [KEYS[0], "not-a-key"]
    (error,) = checks.check_payload_keys()
    assert "key 2" in error.msg
    assert "not-a-key" not in str(error)


def test_a_name_that_is_no_expression_is_refused(settings: LazySettings) -> None:
    settings.SECRET_NAMES = ["password", "("]
    (error,) = checks.check_secret_names()
    assert "'('" in error.msg


def test_without_keys_and_secrets_a_payload_is_stored_as_it_is() -> None:
    (made,) = requests.new_jobs(
        [requests.Request(type="send_email", payload={"to": "a@example.org", "subject": "Hi"})],
        selectors.now(),
        {},
    )
    assert made.document()["payload"]["subject"] == "Hi"


def test_rotation_passes_a_result_whose_names_look_like_operators(settings: LazySettings) -> None:
    ids = [services.enqueue("secretive", PAYLOAD) for _ in range(2)]
    first, second = ({"$schema": "x"}, {"$ne": 1})
    for id, result in zip(ids, (first, second), strict=True):
        literal = [{"$set": {"result": {"$literal": result}}}]
        collection("jobs").update_one({"_id": ObjectId(id)}, literal)
    settings.PAYLOAD_KEYS = KEYS[:1]
    assert services.rotate_payload_keys() == services.Rotated(4, 0)
    assert [selectors.job(id, reveal=True).result for id in ids] == [first, second]
    assert not repository.replace_value(ObjectId(ids[1]), "result", {"$ne": 1}, "other")
