"""The audit: what people and programs did."""

import json
from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpResponse, StreamingHttpResponse

from jobs import reports, selectors
from jobs import serializers as shapes
from jobs.views.door import Request, live, page

EXPORTS = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


@page("view_audit")
def audit(request: Request) -> HttpResponse:
    asked = request.GET.dict()
    cursor = asked.pop("cursor", "")
    chosen = _audit_filter(asked)
    named = {name: asked.get(name, "") for name in shapes.AUDIT_FIELDS}
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
    if form not in EXPORTS:
        raise Http404(f"There is no export as {form}: {' or '.join(EXPORTS)}.")
    entries = selectors.whole_audit(_audit_filter(request.GET.dict()))
    rows = (shapes.AuditShape.model_validate(entry).answer() for entry in entries)
    if form == "csv":
        names = list(shapes.AuditShape.model_fields)
        cells = ([_cell(row[name]) for name in names] for row in rows)
        lines = reports.csv_lines(names, cells)
    else:
        lines = (f"{json.dumps(row)}\n" for row in rows)
    answer = StreamingHttpResponse(lines, content_type=f"{EXPORTS[form]}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="audit.{form}"'
    return answer  # type: ignore[return-value]


def _audit_filter(asked: Mapping[str, str]) -> selectors.AuditFilter:
    """Return what a form asked for: what is empty there is not asked for."""
    given = {name: [value] for name, value in asked.items() if value and name != "rev"}
    return shapes.read_query(shapes.AuditParameters, given).chosen()


def _cell(value: Any) -> reports.Cell:
    return json.dumps(value) if isinstance(value, dict | list) else value
