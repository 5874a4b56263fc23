import csv
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from pytest_django.fixtures import Settings

from jobs import reports, selectors
from jobs.errors import InvalidRequest
from jobs.selectors import ActivityRow, FailureRow
from jobs.tasks import generate_report

ACTIVITY = [
    ActivityRow("send_email", "dead", 1, 4, None),
    ActivityRow("send_email", "completed", 6, 7, 0.5),
    ActivityRow("resize_image", "completed", 2, 2, 2.5),
    ActivityRow("flaky", "pending", 1, 0, None),
]
FAILED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FAILURE = FailureRow("f" * 24, "send_email", "dead", "=cmd|' /C calc'!A0", FAILED_AT)


@pytest.fixture
def asked(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The periods that the selectors were asked for."""
    settings.MEDIA_ROOT = tmp_path
    periods: list[Any] = []

    def activity(since: datetime, until: datetime) -> list[ActivityRow]:
        periods.append((since, until))
        return ACTIVITY

    def failures(since: datetime, until: datetime, limit: int = 100) -> list[FailureRow]:
        periods.append((since, until))
        return [FAILURE][:limit]

    monkeypatch.setattr(selectors, "activity", activity)
    monkeypatch.setattr(selectors, "failures", failures)
    return periods


def text(name: str) -> str:
    with default_storage.open(name) as file:
        return bytes(file.read()).decode()


def table(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text(name), newline="")))


@pytest.mark.usefixtures("asked")
def test_the_result_names_the_files_and_counts_the_jobs() -> None:
    result = generate_report.run(generate_report.validate({}))
    assert result["jobs"] == 10
    assert result["by_status"] == {"pending": 1, "completed": 8, "dead": 1}
    assert result["html"].startswith("reports/summary-")
    assert result["html"].endswith("Z.html")
    assert result["csv"].endswith("Z.csv")
    assert default_storage.exists(result["html"])
    assert default_storage.exists(result["csv"])


def test_the_period_is_the_last_hours(asked: list[Any]) -> None:
    result = reports.generate("Title", "failures", 1.5)
    assert len(asked) == 2
    assert asked[0] == asked[1]
    since, until = asked[0]
    assert until - since == timedelta(hours=1.5)
    assert (result["since"], result["until"]) == (since.isoformat(), until.isoformat())


@pytest.mark.usefixtures("asked")
def test_a_summary_has_one_line_per_state_with_a_mean_weighted_by_jobs() -> None:
    assert table(reports.generate("Title", "summary", 24)["csv"]) == [
        row("pending", 1, 10.0, 0, ""),
        row("completed", 8, 80.0, 9, 1.0),
        row("dead", 1, 10.0, 4, ""),
    ]


def row(status: str, jobs: int, share: float, attempts: int, mean: float | str) -> dict[str, str]:
    return {
        "status": status,
        "jobs": str(jobs),
        "share_percent": str(share),
        "attempts": str(attempts),
        "mean_seconds": str(mean),
    }


@pytest.mark.usefixtures("asked")
def test_by_type_has_one_line_per_type_and_state_in_their_order() -> None:
    found = table(reports.generate("Title", "by_type", 24)["csv"])
    assert [(line["type"], line["status"], line["jobs"]) for line in found] == [
        ("flaky", "pending", "1"),
        ("resize_image", "completed", "2"),
        ("send_email", "completed", "6"),
        ("send_email", "dead", "1"),
    ]


@pytest.mark.usefixtures("asked")
def test_failures_list_what_went_wrong_and_when() -> None:
    (found,) = table(reports.generate("Title", "failures", 24)["csv"])
    assert found["id"] == "f" * 24
    assert found["failed_at"] == "2026-01-02T03:04:05+00:00"


@pytest.mark.usefixtures("asked")
def test_an_error_cannot_become_a_formula_in_a_spreadsheet() -> None:
    (found,) = table(reports.generate("Title", "failures", 24)["csv"])
    assert found["error"] == "'=cmd|' /C calc'!A0"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(start: str) -> None:
    made = reports.as_csv(reports.Table("", ("a", "b"), [(f"{start}1", -1)]))
    assert list(csv.reader(StringIO(made, newline="")))[1] == [f"'{start}1", "-1"]


def test_a_cell_with_quotes_commas_and_lines_survives() -> None:
    cell = 'a "quoted", long\nerror\r\nin 你好'
    made = reports.as_csv(reports.Table("", ("a",), [(cell,)]))
    assert list(csv.reader(StringIO(made, newline="")))[1] == [cell]


@pytest.mark.usefixtures("asked")
def test_the_page_escapes_its_title_and_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = FailureRow("f" * 24, "send_email", "dead", "<img src=x onerror=alert(1)>", None)
    monkeypatch.setattr(selectors, "failures", lambda *args, **kwargs: [failure])
    page = text(reports.generate("<script>alert('x')</script>", "failures", 24)["html"])
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;") == 2
    assert "<td></td>" in page  # no date: an empty cell, not the word None


@pytest.mark.usefixtures("asked")
def test_the_page_stands_alone() -> None:
    page = text(reports.generate("Weekly", "by_type", 24)["html"])
    assert page.startswith("<!doctype html>")
    assert "<h1>Weekly</h1>" in page
    assert "<td>resize_image</td><td>completed</td><td>2</td><td>2</td><td>2.5</td>" in page
    assert "http" not in page
    assert "src=" not in page


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("report_type", ["summary", "by_type", "failures"])
def test_a_period_without_jobs_is_reported_as_such(
    report_type: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "activity", lambda since, until: [])
    monkeypatch.setattr(selectors, "failures", lambda since, until, limit: [])
    result = reports.generate("Title", report_type, 24)
    assert (result["jobs"], result["by_status"]) == (0, {})
    assert "No job was created in this period." in text(result["html"])
    assert table(result["csv"]) == []


@pytest.mark.usefixtures("asked")
def test_two_reports_in_one_second_do_not_overwrite_each_other() -> None:
    first, second = (reports.generate("Title", "summary", 24) for _ in range(2))
    assert first["html"] != second["html"]
    assert first["csv"] != second["csv"]


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"report_type": "weekly"}, "report_type"),
        ({"hours": 0}, "hours"),
        ({"hours": -1}, "hours"),
        ({"hours": 24 * 31 + 1}, "hours"),
        ({"hours": float("nan")}, "hours"),
        ({"hours": "long"}, "hours"),
        ({"reportType": "summary"}, "reportType"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(fault: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        generate_report.validate(fault)
    assert [error.field for error in refused.value.errors] == [f"payload.{field}"]
