"""The form that submits a job, whose fields are those of the job type's signature; and others."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from jobs import secrets
from jobs.errors import InvalidRequest
from jobs.registry import PRIORITIES, JobType
from jobs.requests import MAX_ATTEMPTS, Request
from jobs.roles import ROLES, Role, may_give

Schema = Mapping[str, Any]
LEFT_OUT = object()  # a parameter that was not filled in: its default applies
PREFIX = "payload."  # as in the fields of `InvalidRequest`
ONE_LINE = 255  # a text that may be longer gets a box that grows
INPUT_TYPES = {"email": "email", "uri": "url", "date": "date", "time": "time"}
EMPTY_JSON = {"array": "[]", "object": "{}"}
BOUNDS = {"minimum": "min", "maximum": "max", "minLength": "minlength", "maxLength": "maxlength"}


class Unechoed(forms.Textarea):
    """A box that comes back empty after an error, if there is a secret in it."""

    holds_secrets = False

    def format_value(self, value: Any) -> str | None:
        if value and (self.holds_secrets or secrets.is_named_so(str(value))):
            return ""
        shown: str | None = super().format_value(value)
        return shown


class Parameter(forms.Field):
    """One parameter of a job type. It only reads; the job type's signature judges."""

    def __init__(self, read: Callable[[Any], Any], **options: Any) -> None:
        super().__init__(required=False, **options)
        self.read = read

    def clean(self, value: Any) -> Any:
        return self.read(value)


def parameter(name: str, part: Schema, definitions: Schema, *, required: bool) -> Parameter:
    """Return the field for one property of a JSON schema."""
    shape, nullable = _shape(part, definitions)
    read, widget = _kind(shape, nullable)
    multiple_lines = isinstance(widget, forms.Textarea)
    bounds = {html: shape[key] for key, html in BOUNDS.items() if key in shape}
    widget.attrs.update(bounds)
    if required and not nullable and not isinstance(widget, forms.CheckboxInput):
        widget.attrs["required"] = True
    if isinstance(widget, Unechoed):
        widget.holds_secrets = "writeOnly" in json.dumps([part, definitions])
    if multiple_lines:
        widget.attrs["rows"] = 4 if shape.get("type") in ("array", "object") else 1
    return Parameter(
        _optional(read, shape, nullable=nullable),
        label=name.replace("_", " ").capitalize(),
        help_text=str(shape.get("description", "")),
        initial=_initial(shape.get("default"), shape),
        widget=widget,
    )


def _shape(part: Schema, definitions: Schema) -> tuple[Schema, bool]:
    """Follow references, and see through "this or null"."""
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


def _kind(shape: Schema, nullable: bool) -> tuple[Callable[[Any], Any], forms.Widget]:
    """Return how a field of this shape is read and how it looks."""
    choices = [shape["const"]] if "const" in shape else shape.get("enum")
    if choices is not None:
        return _choice(choices, nullable)
    match shape.get("type"):
        case "boolean":
            return _choice([True, False], nullable) if nullable else (bool, forms.CheckboxInput())
        case "integer" | "number":
            step = "1" if shape["type"] == "integer" else "any"
            return _number, forms.NumberInput(attrs={"step": step})
        case "string":
            return _text, _text_widget(shape)
        case "array" | "object" as kind:
            attrs = {"class": "mono", "spellcheck": "false", "placeholder": EMPTY_JSON[kind]}
            return _json, Unechoed(attrs=attrs)
    takes_text = any(option.get("type") == "string" for option in shape.get("anyOf", ()))
    return _json_or_text if takes_text else _json, Unechoed(attrs={"class": "mono"})


def _text_widget(shape: Schema) -> forms.Widget:
    if shape.get("format") == "password":
        return forms.PasswordInput(attrs={"autocomplete": "new-password"})
    if "format" in shape or shape.get("maxLength", ONE_LINE + 1) <= ONE_LINE:
        kind = INPUT_TYPES.get(shape.get("format", ""), "text")
        return forms.TextInput(attrs={"type": kind, "autocomplete": "off"})
    return forms.Textarea()


def _choice(values: list[Any], nullable: bool) -> tuple[Callable[[Any], Any], forms.Widget]:
    by_text = {value if isinstance(value, str) else json.dumps(value): value for value in values}
    options = [(text, text) for text in by_text]
    if nullable:
        options.insert(0, ("", "none"))
    return lambda text: by_text.get(text, text), forms.Select(choices=options)


def _text(value: str) -> str:
    return value.replace("\r\n", "\n")  # browsers send a box's line ends so


def _number(value: str) -> Any:
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    return value


def _json(value: str) -> Any:
    try:
        return json.loads(value, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValidationError(
            f"This is not JSON: {error.msg}, line {error.lineno}, column {error.colno}."
        ) from None
    except (ValueError, RecursionError):
        raise ValidationError("This is not JSON that can be stored.") from None


def _json_or_text(value: str) -> Any:
    try:
        return _json(value)
    except ValidationError:
        return _text(value)


def _no_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def _optional(read: Callable[[Any], Any], shape: Schema, *, nullable: bool) -> Callable[[Any], Any]:
    """An empty field: null where that is allowed, itself for a text, else left out."""

    def read_filled(value: Any) -> Any:
        if value not in (None, ""):
            return read(value)
        if nullable:
            return None
        return "" if shape.get("type") == "string" and value == "" else LEFT_OUT

    return read_filled


def _initial(default: Any, shape: Schema) -> Any:
    if default is None or isinstance(default, str) or shape.get("type") == "boolean":
        return default
    return json.dumps(default, ensure_ascii=False)


class JobForm(forms.Form):
    """A job asked for by hand. Its rules are those of `services.enqueue`: see `show`."""

    priority = forms.ChoiceField(required=False)
    queue = forms.CharField(required=False)
    delay = forms.FloatField(
        required=False,
        label="Delay, seconds",
        widget=forms.NumberInput(attrs={"min": 0, "step": "any", "placeholder": "0"}),
    )
    max_attempts = forms.IntegerField(
        required=False,
        label="Attempts at most",
        widget=forms.NumberInput(attrs={"min": 1, "max": MAX_ATTEMPTS}),
    )
    tags = forms.CharField(required=False, help_text="Separated by commas.")

    def __init__(self, job_type: JobType[..., Any], data: Any = None, *, attempts: int) -> None:
        super().__init__(data)
        self.job_type = job_type
        usual = [("", f"{job_type.priority}, as usual")]
        self.fields["priority"] = forms.ChoiceField(
            required=False, choices=usual + [(name, name) for name in PRIORITIES]
        )
        self.fields["queue"].widget.attrs["placeholder"] = job_type.queue
        self.fields["max_attempts"].widget.attrs["placeholder"] = str(
            job_type.max_attempts or attempts
        )
        schema = job_type.schema.model_json_schema()
        for name, part in schema.get("properties", {}).items():
            required = name in schema.get("required", ())
            shown = {**part, "format": "password"} if secrets.is_named_so(name) else part
            field = parameter(name, shown, schema.get("$defs", {}), required=required)
            self.fields[PREFIX + name] = field

    @property
    def parameters(self) -> list[forms.BoundField]:
        """The fields of the payload."""
        return [self[name] for name in self.fields if name.startswith(PREFIX)]

    @property
    def options(self) -> list[forms.BoundField]:
        """The fields of how the job is run."""
        return [self[name] for name in self.fields if not name.startswith(PREFIX)]

    def request(self) -> Request:
        """Return what was asked for."""
        filled = {name: value for name, value in self.cleaned_data.items() if value is not LEFT_OUT}
        payload = {
            name.removeprefix(PREFIX): value
            for name, value in filled.items()
            if name.startswith(PREFIX)
        }
        return Request(
            type=self.job_type.name,
            payload=payload,
            priority=filled["priority"] or None,
            queue=filled["queue"] or None,
            delay=filled["delay"],
            max_attempts=filled["max_attempts"],
            tags=[tag.strip() for tag in filled["tags"].split(",") if tag.strip()],
        )

    def show(self, refusal: InvalidRequest) -> None:
        """Show each fault at the field it is about."""
        for fault in refusal.errors:
            name = ".".join(fault.field.split(".")[: 2 if fault.field.startswith(PREFIX) else 1])
            inner = fault.field.removeprefix(name).lstrip(".")
            message = f"{inner}: {fault.message}" if inner else fault.message
            self.add_error(name if name in self.fields else None, message)


# --- tokens -----------------------------------------------------------------------------------


class TokenForm(forms.Form):
    """What a new token is called, may do, and until when."""

    name = forms.CharField(
        max_length=100,
        help_text="The account it acts as, which the audit names. It is made if there is none.",
    )
    role = forms.ChoiceField(choices=[(role, role) for role in ROLES])
    days = forms.FloatField(
        label="Expires in days",
        required=False,
        min_value=0.001,
        max_value=36500,
        help_text="Empty: never.",
    )
    queues = forms.CharField(
        required=False,
        max_length=2000,
        help_text="Their names, with commas between: it sees and changes no other job. Empty: all.",
    )

    def __init__(self, user: User, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        self.user = user

    def clean_queues(self) -> list[str]:
        return [name.strip() for name in self.cleaned_data["queues"].split(",") if name.strip()]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        person = User.objects.filter(username=name).first()
        if person and person != self.user and person.has_usable_password():
            raise ValidationError(
                f"{name} is a person, for whom nobody else makes a token: choose a program's name."
            )
        return name

    def clean_role(self) -> str:
        role: Role = self.cleaned_data["role"]
        if not may_give(self.user, role):
            raise ValidationError(f"You may not do all that {role} may: choose a weaker role.")
        return role


# --- queues -----------------------------------------------------------------------------------


class PauseForm(forms.Form):
    """Why a queue is paused, and for how long."""

    reason = forms.CharField(
        max_length=200,
        help_text="Shown to everybody until it is resumed, and kept in the audit.",
        widget=forms.TextInput(attrs={"required": True, "autofocus": True}),
    )
    seconds = forms.TypedChoiceField(
        label="It resumes",
        required=False,
        coerce=int,
        empty_value=None,
        choices=[
            ("", "when somebody resumes it"),
            ("900", "by itself in 15 minutes"),
            ("3600", "by itself in an hour"),
            ("14400", "by itself in 4 hours"),
            ("86400", "by itself in a day"),
        ],
    )
