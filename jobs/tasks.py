"""The four job types: typed doors. What is behind them is in a module of its own, or in Django."""

import unicodedata
from email.utils import make_msgid, parseaddr
from importlib import import_module
from typing import Annotated, Any

from django.conf import settings
from django.core.mail import EmailMessage
from pydantic import AfterValidator, EmailStr, Field

from jobs import context, images, reports
from jobs import records as rows
from jobs.registry import job


def one_line(text: str) -> str:
    """Return `text`; raises `ValueError` if it could end a header and begin another."""
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        raise ValueError("must be one line, without control characters")
    return text


Subject = Annotated[
    str,
    Field(min_length=1, max_length=200, description="One line of at most 200 characters."),
    AfterValidator(one_line),
]
Pixels = Annotated[int, Field(ge=1, le=10_000, description="Pixels, 1 to 10,000.")]


@job(priority="high")
def send_email(
    to: Annotated[EmailStr, Field(description="The address of one recipient.")],
    subject: Subject,
    body: Annotated[str, Field(description="Plain text.")] = "",
) -> dict[str, Any]:
    """Send a plain-text e-mail.

    Every execution of one job sends the same Message-ID, so a mail that went out twice can be
    recognised. Raises what the e-mail backend raises, such as `SMTPException` or `OSError`.
    """
    headers = {"Message-ID": _message_id()}
    EmailMessage(subject, body, to=[to], headers=headers).send()
    return {"to": to, "subject": subject, "message_id": headers["Message-ID"]}


@job
def resize_image(
    width: Pixels,
    height: Pixels,
    source: Annotated[
        str,
        Field(max_length=255, description="A file in the storage; empty: the bundled sample."),
    ] = "",
) -> dict[str, Any]:
    """Resize an image to exactly width x height pixels, cropped to fit.

    See `images.resize` for what is kept. Raises `ValueError` for a source that is no image,
    larger than 50 megapixels, or outside of the storage.
    """
    return images.resize(source, width, height)


@job
def generate_report(
    title: Annotated[
        str, Field(min_length=1, max_length=200, description="The headline.")
    ] = "Queue report",
    report_type: Annotated[
        reports.ReportType,
        Field(description="What it lists: states, states of each job type, or failed jobs."),
    ] = "summary",
    hours: Annotated[
        float, Field(gt=0, le=24 * 31, description="How far back it looks, in hours.")
    ] = 24,
) -> dict[str, Any]:
    """Report on the queue's own activity, as HTML and as CSV.

    See `reports.generate`. Both files go to the storage; the result names them.
    """
    return reports.generate(title, report_type, hours)


@job
def process_data(
    action: Annotated[rows.Action, Field(description="What to do with the records.")],
    records: Annotated[
        list[rows.Record],
        Field(max_length=100_000, description="A list of at most 100,000 JSON objects."),
    ],
    field: Annotated[str, Field(description="filter, aggregate: the field to look at.")] = "",
    operator: Annotated[
        rows.Operator, Field(description="filter: how the field compares with the value.")
    ] = "eq",
    value: Annotated[rows.Scalar, Field(description="filter: what to compare with.")] = None,
    group_by: Annotated[
        str, Field(description="aggregate: one result per value of this field; empty: one in all.")
    ] = "",
    function: Annotated[rows.Function, Field(description="aggregate: what to compute.")] = "count",
    keys: Annotated[
        list[str], Field(description="deduplicate: the fields that count; none: all of them.")
    ] = [],  # noqa: B006 - pydantic copies it, and nothing here changes it
) -> dict[str, Any]:
    """Describe, filter, aggregate or deduplicate a list of JSON objects.

    `jobs.records` says what equal, missing, less and the sum of nothing mean. What belongs to
    another action is ignored. Raises `ValueError` when the action's own field is not named.
    """
    match action:
        case "describe":
            return rows.describe(records)
        case "filter":
            return rows.select(records, field, operator, value)
        case "aggregate":
            return rows.aggregate(records, function, field, group_by)
        case "deduplicate":
            return rows.deduplicate(records, keys)


def _message_id() -> str:
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    try:
        key = context.current().idempotency_key.replace(":", ".")  # RFC 5322 allows no colon there
        return f"<{key}@{domain}>"
    except LookupError:  # called as a plain function
        return make_msgid(domain=domain)


if settings.DEMO_JOBS:
    import_module("jobs.demo")
