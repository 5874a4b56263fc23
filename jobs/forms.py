"""The form that submits a job, whose fields are those of the job type's signature; and others."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from jobs import idempotency, registry, secrets
from jobs.errors import InvalidRequest
from jobs.registry import PRIORITIES, JobType, Schema
from jobs.requests import MAX_ATTEMPTS, Request, form_fault
from jobs.roles import ROLES, Role, may_give

LEFT_OUT = object()  # a parameter that was not filled in: its default applies
UNREADABLE = object()  # what is no JSON
# What looks like a name in what is no JSON: quoted, or bare at the start of a line or an entry.
NAMES = re.compile(r"""["']([^"'\n]*)["']\s*:|(?:^|[{,\n"'])[ \t]*([\w.-]+)[ \t]*:""")
SCALARS = ("boolean", "integer", "number", "string")
PAYLOAD = "payload"
PREFIX = f"{PAYLOAD}."  # as in the fields of `InvalidRequest`
KEY_FIELD = {idempotency.FIELD: "idempotency_key"}
RETYPE = "It holds a secret that is not shown: write it anew."
EMPTY = {"string": "", "array": [], "object": {}, "integer": 0, "number": 0, "boolean": False}
ONE_LINE = 255  # a text that may be longer gets a box that grows
INPUT_TYPES = {"email": "email", "uri": "url", "date": "date", "time": "time"}
EMPTY_JSON = {"array": "[]", "object": "{}"}
BOUNDS = {"minimum": "min", "maximum": "max", "minLength": "minlength", "maxLength": "maxlength"}


class Unechoed(forms.Textarea):
    """A box of JSON that comes back empty after an error, if there is a secret in it."""

    part: Schema = {}  # what is written in it
    definitions: Schema = {}
    reveals = False  # it was filled for somebody who may see secrets

    def hides(self, text: str | None) -> bool:
        """Return whether this text is not shown; of what is no JSON, its names must tell."""
        if not text or self.reveals:
            return False
        try:
            # One that is too large is refused, and would take long to go through.
            large = len(text) > settings.JOB_PAYLOAD_MAX_BYTES
            value = UNREADABLE if large else _json(text)
        except ValidationError:
            value = UNREADABLE
        if value is UNREADABLE or form_fault(value):
            names = chain.from_iterable(NAMES.findall(text))
            return secrets.holds_secrets(self.part, self.definitions) or any(
                map(secrets.is_named_so, names)
            )
        shown = secrets.mask_described(value, self.part, self.definitions)
        return bool(shown != value)

    def format_value(self, value: Any) -> str | None:
        return "" if self.hides(value) else super().format_value(value)


class Parameter(forms.Field):
    """One parameter of a job type. It only reads; the job type's signature judges."""

    def __init__(self, read: Callable[[Any], Any], **options: Any) -> None:
        super().__init__(required=False, **options)
        self.read = read

    def clean(self, value: Any) -> Any:
        return self.read(value)


def parameter(name: str, part: Schema, definitions: Schema, *, required: bool) -> Parameter:
    """Return the field for one property of a JSON schema."""
    shape, nullable = registry.shape(part, definitions)
    read, widget = _kind(shape, nullable)
    multiple_lines = isinstance(widget, forms.Textarea)
    bounds = {html: shape[key] for key, html in BOUNDS.items() if key in shape}
    widget.attrs.update(bounds)
    if required and not nullable and not isinstance(widget, forms.CheckboxInput):
        widget.attrs["required"] = True
    if isinstance(widget, Unechoed):
        widget.part, widget.definitions = part, definitions
    if multiple_lines:
        widget.attrs["rows"] = 4 if shape.get("type") in ("array", "object") else 1
    return Parameter(
        _optional(read, shape, nullable=nullable),
        label=name.replace("_", " ").capitalize(),
        help_text=str(shape.get("description", "")),
        initial=_initial(shape.get("default"), shape),
        widget=widget,
    )


def _kind(shape: Schema, nullable: bool) -> tuple[Callable[[Any], Any], forms.Widget]:
    """Return how a field of this shape is read and how it looks."""
    choices = [shape["const"]] if "const" in shape else shape.get("enum")
    kind = shape.get("type")
    if shape.get("writeOnly") and (choices or kind in SCALARS):
        return _text if kind == "string" else _json_or_text, _password()
    if choices is not None:
        return _choice(choices, nullable)
    match kind:
        case "boolean":
            return _choice([True, False], nullable) if nullable else (bool, forms.CheckboxInput())
        case "integer" | "number":
            step = "1" if shape["type"] == "integer" else "any"
            return _number, forms.NumberInput(attrs={"step": step})
        case "string":
            return _text, _text_widget(shape)
        case "array" | "object":
            attrs = {"class": "mono", "spellcheck": "false", "placeholder": EMPTY_JSON[kind]}
            return _json, Unechoed(attrs=attrs)
    takes_text = any(option.get("type") == "string" for option in shape.get("anyOf", ()))
    return _json_or_text if takes_text else _json, Unechoed(attrs={"class": "mono"})


def _text_widget(shape: Schema) -> forms.Widget:
    if shape.get("format") == "password":
        return _password()
    if "format" in shape or shape.get("maxLength", ONE_LINE + 1) <= ONE_LINE:
        kind = INPUT_TYPES.get(shape.get("format", ""), "text")
        return forms.TextInput(attrs={"type": kind, "autocomplete": "off"})
    return forms.Textarea()


def _password() -> forms.Widget:
    return forms.PasswordInput(attrs={"autocomplete": "new-password"})


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
    if isinstance(default, str) and shape.get("type") != "string" and _is_json(default):
        return json.dumps(default)  # where JSON may stand too, "7" is not 7
    if default is None or isinstance(default, str) or shape.get("type") == "boolean":
        return default
    indent = 2 if default and isinstance(default, dict | list) else None
    return json.dumps(default, indent=indent, ensure_ascii=False)


def _is_json(text: str) -> bool:
    try:
        _json(text)
    except ValidationError:
        return False
    return True


@dataclass(frozen=True)
class Filling:
    """What a form begins with: the payload and options of another job.

    `revealed`: secrets are in it, for somebody who may see them. If not they are masked, and
    whoever sends the form must write them anew.
    """

    payload: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    revealed: bool = False

    def hides(self, name: str) -> bool:
        """Return whether there is a mask in a parameter's value."""
        return secrets.MASK in json.dumps(self.payload.get(name), ensure_ascii=False)


class JobForm(forms.Form):
    """A job asked for by hand. Its rules are those of `services.enqueue`: see `show`.

    `raw`: its payload is one box of JSON, instead of a field for each parameter.
    """

    priority = forms.ChoiceField(required=False)
    queue = forms.CharField(required=False)
    delay = forms.FloatField(
        required=False,
        label="Run in, seconds",
        widget=forms.NumberInput(attrs={"min": 0, "step": "any", "placeholder": "0"}),
    )
    run_at = forms.CharField(
        required=False,
        label="Or run at",
        widget=forms.TextInput(attrs={"type": "datetime-local", "step": "1"}),
    )
    zone = forms.CharField(
        required=False,
        label="Time zone of that time",
        help_text="As Europe/Berlin. Empty: UTC.",
        widget=forms.TextInput(attrs={"placeholder": "UTC", "spellcheck": "false"}),
    )
    max_attempts = forms.IntegerField(
        required=False,
        label="Attempts at most",
        widget=forms.NumberInput(attrs={"min": 1, "max": MAX_ATTEMPTS}),
    )
    tags = forms.CharField(required=False, help_text="Separated by commas.")
    idempotency_key = forms.CharField(
        required=False,
        max_length=200,
        help_text="Sent twice under one key within 24 hours, it is one job.",
    )

    def __init__(
        self,
        job_type: JobType[..., Any],
        data: Any = None,
        *,
        attempts: int,
        raw: bool = False,
        filling: Filling = Filling(),
    ) -> None:
        super().__init__(data, initial=dict(filling.options))
        self.job_type, self.raw, self.filling = job_type, raw, filling
        usual = [("", f"{job_type.priority}, as usual")]
        self.fields["priority"] = forms.ChoiceField(
            required=False, choices=usual + [(name, name) for name in PRIORITIES]
        )
        self.fields["queue"].widget.attrs["placeholder"] = job_type.queue
        self.fields["max_attempts"].widget.attrs["placeholder"] = str(
            job_type.max_attempts or attempts
        )
        schema = job_type.schema.model_json_schema()
        self.fields |= {"payload": self._box(schema)} if raw else dict(self._parameters(schema))

    def _parameters(self, schema: Schema) -> Iterator[tuple[str, Parameter]]:
        definitions, filled = schema.get("$defs", {}), self.filling.payload
        for name, part in schema.get("properties", {}).items():
            required = name in schema.get("required", ())
            hidden = {"format": "password", **secrets.SECRET}
            shown = {**part, **hidden} if secrets.is_named_so(name) else part
            made = parameter(name, shown, definitions, required=required)
            if self.filling.hides(name):
                made.initial = None
                made.help_text = f"{made.help_text} {RETYPE}".strip()
            elif name in filled:
                made.initial = _initial(filled[name], registry.shape(part, definitions)[0])
                _reveal(made.widget, revealed=self.filling.revealed and not self.is_bound)
            yield PREFIX + name, made

    def _box(self, schema: Schema) -> Parameter:
        """Return one field for the whole payload, as JSON."""
        attrs = {"class": "mono", "rows": 12, "spellcheck": "false"}
        box = Parameter(_json, label="Payload", widget=Unechoed(attrs=attrs))
        box.widget.part, box.widget.definitions = schema, schema.get("$defs", {})
        properties = schema.get("properties", {})
        whole = self.filling.payload or {
            name: part.get("default", EMPTY.get(part.get("type", "")))
            for name, part in properties.items()
        }
        box.initial = json.dumps(whole, indent=2, ensure_ascii=False)
        box.help_text = f"A JSON object with: {', '.join(properties) or 'nothing'}."
        masked = any(map(self.filling.hides, self.filling.payload))
        if masked:
            box.help_text += f" {RETYPE}"
        _reveal(box.widget, revealed=(self.filling.revealed or masked) and not self.is_bound)
        return box

    @property
    def parameters(self) -> list[forms.BoundField]:
        """The fields of the payload."""
        return [self[name] for name in self.fields if name.startswith(PAYLOAD)]

    @property
    def options(self) -> list[forms.BoundField]:
        """The fields of how the job is run."""
        return [self[name] for name in self.fields if not name.startswith(PAYLOAD)]

    def clean(self) -> dict[str, Any]:
        """Read the time, and take no mask for what it stands for."""
        data: dict[str, Any] = self.cleaned_data
        try:
            data["run_at"] = _time(data.get("run_at", ""), data.get("zone", ""))
        except ZoneInfoNotFoundError:
            self.add_error("zone", "There is no such zone. Use a name as Europe/Berlin, or UTC.")
        except ValueError:
            self.add_error("run_at", "Use a date and a time, as 2026-11-24T12:00.")
        for name in self.fields:
            if name.startswith(PAYLOAD) and name in data:
                self._refuse(name, data[name])
        if self.raw and not isinstance(data.get("payload", {}), dict):
            self.add_error("payload", "Use a JSON object: it begins with { and ends with }.")
        return data

    def _refuse(self, name: str, value: Any) -> None:
        """Refuse a mask, and what is too deep to look for one."""
        if fault := form_fault(value):
            self.add_error(name, fault)
            return
        left_out = value in ("", None, LEFT_OUT) and self.filling.hides(name.removeprefix(PREFIX))
        masked = value is not LEFT_OUT and secrets.MASK in json.dumps(value, ensure_ascii=False)
        if left_out or masked:
            self.add_error(name, RETYPE)

    def ask_again(self) -> None:
        """Say at each parameter that had a value and is shown empty that it must be typed anew."""
        for name in self.fields if self.is_bound else ():
            said = RETYPE in self.errors.get(name, ())
            if name.startswith(PAYLOAD) and _hides(self[name]) and not said:
                self.add_error(name, RETYPE)

    def request(self) -> Request:
        """Return what was asked for."""
        filled = {name: value for name, value in self.cleaned_data.items() if value is not LEFT_OUT}
        fields = {
            name.removeprefix(PREFIX): value
            for name, value in filled.items()
            if name.startswith(PREFIX)
        }
        return Request(
            type=self.job_type.name,
            payload=filled.get("payload", {}) if self.raw else fields,
            priority=filled["priority"] or None,
            queue=filled["queue"] or None,
            delay=filled["delay"],
            run_at=filled["run_at"],
            max_attempts=filled["max_attempts"],
            tags=[tag.strip() for tag in filled["tags"].split(",") if tag.strip()],
        )

    @property
    def key(self) -> str | None:
        """The idempotency key, if one was given."""
        return self.cleaned_data["idempotency_key"] or None

    def show(self, refusal: InvalidRequest) -> None:
        """Show each fault at the field it is about."""
        for fault in refusal.errors:
            parts = 1 if self.raw or not fault.field.startswith(PREFIX) else 2
            name = KEY_FIELD.get(fault.field, ".".join(fault.field.split(".")[:parts]))
            inner = fault.field.removeprefix(name).lstrip(".")
            message = f"{inner}: {fault.message}" if inner else fault.message
            self.add_error(name if name in self.fields else None, message)


def _reveal(widget: forms.Widget, *, revealed: bool) -> None:
    if isinstance(widget, Unechoed):
        widget.reveals = revealed
    elif isinstance(widget, forms.PasswordInput):
        widget.render_value = revealed


def _hides(field: forms.BoundField) -> bool:
    """Return whether a field shows nothing of a value that it has."""
    widget, value = field.field.widget, field.value()
    if isinstance(widget, forms.PasswordInput):
        return bool(value) and not widget.render_value
    return isinstance(widget, Unechoed) and widget.hides(value)


def _time(text: str, zone: str) -> datetime | None:
    """Return a moment; raises `ValueError` for what is none, `ZoneInfoNotFoundError`."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=_zone(zone))


def _zone(name: str) -> tzinfo:
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError):  # of a name that is no path, or a folder's
        raise ZoneInfoNotFoundError(name) from None


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
