from typing import Any, Literal

import pytest

from jobs import job, registry
from jobs.errors import DefinitionError, InvalidRequest


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_types", {})


def faults(payload: dict[str, Any], job_type: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        job_type.validate(payload)
    return {error.field: error.message for error in caught.value.errors}


def test_a_typed_function_becomes_a_job_type_and_still_is_a_function() -> None:
    @job(priority="high", timeout=30)
    def add(a: int, b: int = 1) -> int:
        """Add two numbers.

        More text."""
        return a + b

    assert add(2, b=3) == 5
    assert registry.get("add") is add
    assert (add.priority, add.timeout, add.fields) == ("high", 30, ["a", "b"])
    assert add.description == "Add two numbers."


def test_the_signature_checks_completes_and_types_the_payload() -> None:
    @job
    def pick(size: Literal["s", "m"], ratio: float, tags: list[str] | None = None) -> None: ...

    assert pick.validate({"size": "s", "ratio": 2}) == {"size": "s", "ratio": 2.0, "tags": None}
    errors = faults({"size": "x", "extra": 1}, pick)
    assert set(errors) == {"payload.size", "payload.ratio", "payload.extra"}
    assert "payload.ratio" in faults({"size": "s", "ratio": float("nan")}, pick)


def test_a_stored_payload_reaches_the_function_in_its_own_types() -> None:
    seen: list[Any] = []

    @job
    def at(when: "__import__('datetime').datetime") -> None:  # type: ignore[valid-type]
        seen.append(when)

    at.run(at.validate({"when": "2026-11-24T12:00:00Z"}))
    assert seen[0].year == 2026


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ä", "-a", "$a"])
def test_a_name_that_no_url_or_key_could_carry_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError):
        job(name=name or "\n")(lambda: None)


def test_what_no_json_object_can_fill_is_refused_when_it_is_defined() -> None:
    with pytest.raises(DefinitionError, match="kwargs"):

        @job
        def anything(**kwargs: int) -> None: ...


def test_two_job_types_cannot_share_a_name() -> None:
    @job(name="twin")
    def one() -> None: ...

    with pytest.raises(DefinitionError, match="has this name"):

        @job(name="twin")
        def two() -> None: ...


@pytest.mark.parametrize(
    "wrong", [{"priority": "urgent"}, {"max_attempts": 0}, {"timeout": -1}, {"queue": "a b"}]
)
def test_defaults_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        job(**wrong)(lambda: None)


def test_options_change_one_enqueue_and_leave_the_job_type_alone() -> None:
    sent: list[Any] = []

    @job
    def greet(name: str) -> None: ...

    previous = registry._enqueue
    registry.bind(lambda type, payload, options: sent.append((type, payload, options)) or "id")
    try:
        assert greet.options(priority="low").options(delay=60).enqueue(name="Ada") == "id"
    finally:
        registry.bind(previous)
    type_, payload, options = sent[0]
    assert (type_, dict(payload)) == ("greet", {"name": "Ada"})
    assert (options.priority, options.delay) == ("low", 60)
    assert greet.chosen.priority is None
