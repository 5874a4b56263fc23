"""What is exported: sent line by line, so that its length costs no memory."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.http import Http404, HttpResponse, StreamingHttpResponse

from jobs import reports

KINDS = {"csv": "text/csv", "ndjson": "application/x-ndjson"}


def check_form(form: str) -> None:
    """Raise `Http404` unless there are exports of this form."""
    if form not in KINDS:
        raise Http404(f"There is no export as {form}: {' or '.join(KINDS)}.")


def export(
    name: str, form: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> HttpResponse:
    """Answer with rows as a file: CSV, or one JSON object a line."""
    if form == "csv":
        cells = ([_cell(row[column]) for column in columns] for row in rows)
        lines = reports.csv_lines(columns, cells)
    else:
        lines = (f"{json.dumps(row)}\n" for row in rows)
    answer = StreamingHttpResponse(lines, content_type=f"{KINDS[form]}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return answer  # type: ignore[return-value]


def _cell(value: Any) -> reports.Cell:
    return json.dumps(value) if isinstance(value, dict | list) else value
