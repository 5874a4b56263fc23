"""What is exported: sent line by line, so that its length costs no memory."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse

from jobs import reports

FORMS = ("csv", "ndjson")


def export(
    name: str, form: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> HttpResponse:
    """Answer with rows as a file: CSV, or one JSON object a line."""
    if form == "csv":
        cells = ([_cell(row[column]) for column in columns] for row in rows)
        lines, kind = reports.csv_lines(columns, cells), "text/csv"
    else:
        lines, kind = (f"{json.dumps(row)}\n" for row in rows), "application/x-ndjson"
    answer = StreamingHttpResponse(lines, content_type=f"{kind}; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return answer  # type: ignore[return-value]


def _cell(value: Any) -> reports.Cell:
    return json.dumps(value) if isinstance(value, dict | list) else value
