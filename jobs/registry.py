"""Job types: a typed function, registered. Its signature is the schema of its payload."""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, cached_property
from inspect import Parameter
from typing import (
    Any,
    Concatenate,
    Generic,
    Literal,
    NamedTuple,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    get_args,
    get_type_hints,
    overload,
)

from pydantic import (
    BaseModel,
    ConfigDict,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_jsonable_python

from jobs import context
from jobs.context import Context
from jobs.errors import DefinitionError, FieldError, InvalidRequest

P = ParamSpec("P")
R = TypeVar("R")
Schema = Mapping[str, Any]  # a JSON schema, or a part of one
Priority = Literal["high", "medium", "low"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)  # strict order: the first is taken first
POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
STARS = "**********"  # what pydantic writes for a secret
CTX = "ctx"  # the first parameter of a function that wants its execution's context
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")  # of job types, queues and tags


class Lane(NamedTuple):
    """One queue at one priority."""

    queue: str
    priority: str


# A payload has no other fields than the signature's, and no number that JSON cannot say. An error
# quotes nothing of it: shortened, a secret is no longer found by `secrets.scrub`.
SCHEMA_CONFIG = ConfigDict(
    extra="forbid",
    allow_inf_nan=False,
    ser_json_inf_nan="constants",
    hide_input_in_errors=True,
)

_SECRET: Any = TypeAdapter(Secret[int]).core_schema


class _Described(GenerateJsonSchema):
    """Says of `Secret[...]` that it is secret, as pydantic does of `SecretStr` alone."""

    def json_or_python_schema(self, schema: Any) -> dict[str, Any]:
        found = super().json_or_python_schema(schema)
        written_by = schema.get("serialization", {}).get("function")
        secret = written_by is _SECRET["serialization"]["function"]
        return {**found, "writeOnly": True} if secret else found


class _Payload(BaseModel):
    model_config = SCHEMA_CONFIG

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
        return super().model_json_schema(*args, **{"schema_generator": _Described, **options})


@dataclass(frozen=True, kw_only=True)
class Options:
    """How one enqueue differs from its job type's defaults; `None` means as the type says."""

    priority: Priority | None = None
    queue: str | None = None
    max_attempts: int | None = None
    run_at: datetime | None = None
    delay: float | None = None  # seconds from now; excludes run_at
    tags: tuple[str, ...] = ()
    idempotency_key: str | None = None  # the same key again: the same job, not a second one


@dataclass(frozen=True)
class JobType(Generic[P, R]):
    """A registered function. Call it to run it here; `enqueue` it to run it in a worker."""

    name: str
    function: Callable[..., R]
    schema: type[BaseModel]
    priority: Priority = "medium"
    queue: str = "default"
    max_attempts: int | None = None  # None: settings.JOB_MAX_ATTEMPTS
    timeout: float | None = None  # seconds; None: settings.JOB_TIMEOUT_SECONDS
    backoff: float | None = None  # seconds; None: settings.JOB_BACKOFF_SECONDS
    is_async: bool = False  # calling it makes a coroutine, which a worker runs on its event loop
    chosen: Options = field(default=Options(), repr=False)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def options(self, **chosen: Any) -> Self:
        """Return this job type with other defaults for its next `enqueue`; see `Options`."""
        return replace(self, chosen=replace(self.chosen, **chosen))

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Accept a job of this type and return its id. It is durable once this returns.

        Raises `InvalidRequest` for a payload that the signature refuses, `StoreDown` when MongoDB
        does not acknowledge it, `IdempotencyConflict` for a key that names another request.
        """
        payload = _payload_signature(self.function).bind_partial(*args, **kwargs).arguments
        return _enqueue(self.name, payload, self.chosen)

    def validate(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Return `payload` checked against the signature, completed with defaults, as JSON values.

        Raises `InvalidRequest` with one error per field.
        """
        try:
            checked = self._validated(payload)
            plain: dict[str, Any] = self.schema.__pydantic_serializer__.to_python(
                checked, mode="json"
            )
            return _revealed(checked.model_dump(), plain) if self.has_secrets else plain
        except ValidationError as error:
            raise InvalidRequest(*map(_field_error, error.errors())) from None

    def run(self, payload: Mapping[str, Any]) -> R:
        """Call the function with a stored payload turned back into the types of its signature.

        Of an async function that makes the coroutine, which the caller runs.
        """
        return self.function(**vars(self._validated(payload)))

    @cached_property
    def _validated(self) -> Callable[[Any], BaseModel]:
        # What `model_validate` ends in: with a few fields its own steps take twice as long.
        return self.schema.__pydantic_validator__.validate_python

    @cached_property
    def has_secrets(self) -> bool:
        """Whether anything in the signature is typed `SecretStr`, or another of pydantic's."""
        return _has_secrets(self.schema)

    def masked(self, payload: Any) -> Any:
        """Return a stored payload with `STARS` for what is secret; `None`: it does not fit."""
        try:
            return self.schema.model_validate(payload).model_dump(mode="json")
        except Exception:  # a validator may raise anything
            return None

    @property
    def fields(self) -> list[str]:
        return list(self.schema.model_fields)

    @property
    def description(self) -> str:
        """The first line of the function's docstring; empty if it has none."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]


class ContextJobType(JobType[P, R]):
    """A job type whose function takes `ctx` first, which is no part of its payload."""

    def __call__(self, ctx: Context, *args: P.args, **kwargs: P.kwargs) -> R:  # type: ignore[override]
        return self.function(ctx, *args, **kwargs)

    def run(self, payload: Mapping[str, Any]) -> R:
        """As `JobType.run`, with the current context. Raises `LookupError` outside of a job."""
        return self.function(context.current(), **vars(self._validated(payload)))


class Registration(Protocol):
    """What `job` with options returns: it makes a job type of a function."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, P], R], /
    ) -> ContextJobType[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> JobType[P, R]: ...


_types: dict[str, JobType[..., Any]] = {}
_enqueue: Callable[[str, Mapping[str, Any], Options], str]


def bind(enqueue: Callable[[str, Mapping[str, Any], Options], str]) -> None:
    """Say what `JobType.enqueue` calls. The services do this once, so the arrow points one way."""
    global _enqueue
    _enqueue = enqueue


@overload
def job(function: Callable[Concatenate[Context, P], R], /) -> ContextJobType[P, R]: ...
@overload
def job(function: Callable[P, R], /) -> JobType[P, R]: ...
@overload
def job(
    *,
    name: str = ...,
    priority: Priority = ...,
    queue: str = ...,
    max_attempts: int | None = ...,
    timeout: float | None = ...,
    backoff: float | None = ...,
) -> Registration: ...


def job(function: Callable[..., Any] | None = None, /, *, name: str = "", **defaults: Any) -> Any:
    """Register a typed function, plain or async, as a job type named after it (or `name`).

    A first parameter `ctx`, annotated `Context` or not at all, is not part of the payload: the
    function is given the context of its execution. Raises `DefinitionError` for a name that is
    taken, a signature that no JSON object can fill, or a `ctx` in another place.
    """

    def register(function: Callable[..., Any]) -> JobType[..., Any]:
        kind = ContextJobType if _takes_context(function) else JobType
        job_type: JobType[..., Any] = kind(
            name or function.__name__,
            function,
            _schema_of(function),
            is_async=inspect.iscoroutinefunction(function),
            **defaults,
        )
        _check(job_type)
        _types[job_type.name] = job_type
        return job_type

    return register if function is None else register(function)


def get(name: str) -> JobType[..., Any] | None:
    """Return the job type of that name; `None` if no code in this process registered it."""
    return _types.get(name)


def all_types() -> list[JobType[..., Any]]:
    """Return every registered job type, by name."""
    return sorted(_types.values(), key=lambda job_type: job_type.name)


def _check(job_type: JobType[..., Any]) -> None:
    faults = {
        f"the name must match {NAME.pattern}": not NAME.fullmatch(job_type.name),
        "another job type has this name": job_type.name in _types,
        f"priority must be one of {', '.join(PRIORITIES)}": job_type.priority not in PRIORITIES,
        f"queue must match {NAME.pattern}": not NAME.fullmatch(job_type.queue),
        "max_attempts must be at least 1": (job_type.max_attempts or 1) < 1,
        "timeout must be positive": (job_type.timeout or 1) <= 0,
        "backoff must not be negative": (job_type.backoff or 0) < 0,
        "a generator would never run": _makes_generator(job_type.function),
    }
    if found := [fault for fault, present in faults.items() if present]:
        raise DefinitionError(f"Job type {job_type.name!r}: {'; '.join(found)}.")


def _makes_generator(function: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _takes_context(function: Callable[..., Any]) -> bool:
    """Return whether the first parameter is `ctx`. Raises `DefinitionError` if another one is."""
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters
    for place, parameter in enumerate(parameters.values()):
        hint = hints.get(parameter.name, parameter.empty)
        well_typed = hint in (Context, parameter.empty) and parameter.kind in POSITIONAL
        well_placed = place == 0 and parameter.name == CTX and well_typed
        if (parameter.name == CTX or hint is Context) and not well_placed:
            raise DefinitionError(
                f"Job type {function.__name__!r}: `{parameter}`: a context comes first and is "
                f"called {CTX}, as in def {function.__name__}({CTX}: Context, ...)."
            )
    return CTX in parameters


@cache
def _payload_signature(function: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(function)
    parameters = signature.parameters.values()
    return signature.replace(parameters=[one for one in parameters if one.name != CTX])


def _schema_of(function: Callable[..., Any]) -> type[BaseModel]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in _payload_signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DefinitionError(
                f"Job type {function.__name__!r}: name each parameter; "
                f"{parameter} cannot be filled from a JSON object."
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints.get(parameter.name, Any), default)
    return create_model(f"{function.__name__}_payload", __base__=_Payload, **fields)


@cache
def _has_secrets(schema: type[BaseModel]) -> bool:
    return '"writeOnly": true' in json.dumps(schema.model_json_schema())


def shape(part: Schema, definitions: Schema) -> tuple[Schema, bool]:
    """Follow references in a part of a schema, and see through "this or null"."""
    part = _followed(part, definitions)
    options = [_followed(option, definitions) for option in part.get("anyOf", ())]
    kept = [option for option in options if option.get("type") != "null"]
    if len(kept) == 1:
        part = {**part, **kept[0]}
    return part, len(kept) < len(options)


def _followed(part: Schema, definitions: Schema) -> Schema:
    while "$ref" in part:
        target = definitions.get(str(part["$ref"]).rpartition("/")[2], {})
        part = {**target, **{key: value for key, value in part.items() if key != "$ref"}}
    return part


def _revealed(value: Any, plain: Any) -> Any:
    """Return `plain`, the JSON of `value`, with the secrets themselves where it has stars."""
    if isinstance(value, Secret | SecretStr | SecretBytes):
        return to_jsonable_python(value.get_secret_value())
    if isinstance(plain, dict) and isinstance(value, dict):
        pairs = zip(plain.items(), value.values(), strict=True)  # in the same order
        return {name: _revealed(inner, shown) for (name, shown), inner in pairs}
    if isinstance(plain, list) and isinstance(value, Iterable):
        return [_revealed(inner, shown) for inner, shown in zip(value, plain, strict=True)]
    return plain


def _field_error(error: Any) -> FieldError:
    path = ".".join(map(str, ("payload", *error["loc"])))
    return FieldError(path, str(error["msg"]))
