"""The audit: what people and programs did."""

from collections.abc import Mapping

from django.http import HttpResponse

from jobs import selectors
from jobs.serializers.audit import AuditShape
from jobs.serializers.queries import AUDIT_FIELDS, AuditParameters
from jobs.serializers.validation import read_query
from jobs.views.door import Request, live, page
from jobs.views.exports import check_form, export


@page("view_audit")
def audit(request: Request) -> HttpResponse:
    asked = request.GET.dict()
    cursor = asked.pop("cursor", "")
    chosen = _audit_filter(asked)
    named = {name: asked.get(name, "") for name in AUDIT_FIELDS}
    context = {
        "page": selectors.audit(chosen, cursor=cursor),
        "chosen": named,
        "filtered": any(named.values()),
        "cursor": cursor,
    }
    return live(request, "audit", context, polls=not cursor)


@page("view_audit")
def audit_export(request: Request, form: str) -> HttpResponse:
    """Send every entry that matches, line by line, as CSV or as one JSON object a line."""
    check_form(form)
    entries = selectors.whole_audit(_audit_filter(request.GET.dict()))
    rows = (AuditShape.model_validate(entry).answer() for entry in entries)
    return export("audit", form, list(AuditShape.model_fields), rows)


def _audit_filter(asked: Mapping[str, str]) -> selectors.AuditFilter:
    """Return what a form asked for: what is empty there is not asked for."""
    given = {name: [value] for name, value in asked.items() if value and name != "rev"}
    return read_query(AuditParameters, given).chosen()
