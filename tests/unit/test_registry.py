import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest

from jobs import Context, context, job, registry
from jobs.errors import DefinitionError, InvalidRequest


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_types", {})


@pytest.fixture
def sent() -> Iterator[list[Any]]:
    """What is enqueued: type, payload, options."""
    found: list[Any] = []
    previous = registry._enqueue
    registry.bind(lambda *asked: found.append(asked) or "id")
    yield found
    registry.bind(previous)


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


def test_a_coroutine_function_becomes_a_job_type_and_still_is_one(sent: list[Any]) -> None:
    @job(priority="high")
    async def add(ctx: Context, a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b

    assert (add.fields, add.priority, add.description) == (["a", "b"], "high", "Add two numbers.")
    assert asyncio.run(add(CONTEXT, 2, b=3)) == 5
    with context.use(CONTEXT):
        assert asyncio.run(add.run(add.validate({"a": 2}))) == 3
    assert add.enqueue(a=7) == "id"
    assert set(faults({"a": "x"}, add)) == {"payload.a"}


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("function", [generator, async_generator])
def test_a_generator_is_refused_when_it_is_defined(function: Any) -> None:
    with pytest.raises(DefinitionError, match="a generator would never run"):
        job(function)


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


def test_options_change_one_enqueue_and_leave_the_job_type_alone(sent: list[Any]) -> None:
    @job
    def greet(name: str) -> None: ...

    assert greet.options(priority="low").options(delay=60).enqueue(name="Ada") == "id"
    type_, payload, options = sent[0]
    assert (type_, dict(payload)) == ("greet", {"name": "Ada"})
    assert (options.priority, options.delay) == ("low", 60)
    assert greet.chosen.priority is None


# --- a first parameter ctx --------------------------------------------------------------------

CONTEXT = Context(job_id="a" * 24, attempt=1, claim=1, idempotency_key="charge:a")


def charging() -> Any:
    @job(priority="high")
    def charge(ctx: Context, order: int, copies: int = 1) -> tuple[Any, int, int]:
        return ctx, order, copies

    return charge


def test_a_context_is_no_part_of_the_payload() -> None:
    charge = charging()
    assert charge.fields == ["order", "copies"]
    assert "ctx" not in charge.schema.model_json_schema()["properties"]
    assert charge.validate({"order": 7}) == {"order": 7, "copies": 1}
    assert set(faults({"order": 7, "ctx": 1}, charge)) == {"payload.ctx"}


def test_a_job_is_given_the_context_that_it_could_ask_for() -> None:
    with context.use(CONTEXT):
        given, *rest = charging().run({"order": 7})
        assert given is context.current()
    assert rest == [7, 1]


def test_a_job_type_with_a_context_runs_only_as_a_job_or_when_given_one() -> None:
    charge = charging()
    with pytest.raises(LookupError, match="No job runs here"):
        charge.run({"order": 7})
    assert charge(CONTEXT, 7) == charge(ctx=CONTEXT, order=7) == (CONTEXT, 7, 1)
    with pytest.raises(TypeError):
        charge(order=7)


@pytest.mark.parametrize("chosen", [{}, {"delay": 60}])
def test_enqueue_takes_no_context(chosen: dict[str, Any], sent: list[Any]) -> None:
    charge = charging().options(**chosen)
    assert charge.enqueue(order=7) == charge.enqueue(7) == "id"
    assert [(type, dict(payload)) for type, payload, _ in sent] == [("charge", {"order": 7})] * 2
    with pytest.raises(TypeError):
        charge.enqueue(ctx=CONTEXT, order=7)


def test_a_context_needs_no_annotation() -> None:
    @job
    def bare(ctx, order: int):  # type: ignore[no-untyped-def]
        return ctx, order

    assert bare.fields == ["order"]
    with context.use(CONTEXT):
        assert bare.run({"order": 7}) == (CONTEXT, 7)


def test_a_context_may_be_all_that_a_job_type_takes() -> None:
    @job
    def alone(ctx: "Context", /) -> Context:
        return ctx

    assert (alone.fields, alone.validate({})) == ([], {})
    with context.use(CONTEXT):
        assert alone.run({}) is CONTEXT


def second(order: int, ctx: Context) -> None: ...
def keyword_only(*, ctx: Context) -> None: ...
def other_type(ctx: int) -> None: ...
def other_name(context: Context, order: int) -> None: ...
def twice(ctx: Context, other: Context) -> None: ...
def optional(ctx: Context | None = None) -> None: ...
def rest(*ctx: Context) -> None: ...


@pytest.mark.parametrize(
    "function", [second, keyword_only, other_type, other_name, twice, optional, rest]
)
def test_a_context_elsewhere_than_first_is_refused_when_it_is_defined(function: Any) -> None:
    with pytest.raises(DefinitionError, match="a context comes first and is called ctx"):
        job(function)
