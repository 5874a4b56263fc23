"""What the documents say is what the code does, as far as a test can tell."""

import re
from pathlib import Path

import pytest

from jobs.models import Job

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
ROWS = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", OPERATIONS, re.M))
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def source(path: str) -> str:
    return (ROOT / path).read_text()


def test_the_table_of_variables_is_what_the_settings_read() -> None:
    read = re.findall(
        r'(?:env_\w+|of_running|environ\.get)\(\s*"([A-Z_]+)"',
        source("taskqueue/settings.py") + source("taskqueue/run.py"),
    )
    assert set(ROWS) == set(read)


def test_the_defaults_in_the_table_are_those_of_the_settings() -> None:
    numbers = re.findall(
        r'env_(?:number|int)\("([A-Z_]+)", ([\d* ]+)[,)]', source("taskqueue/settings.py")
    )
    assert len(numbers) > 8
    for name, default in numbers:
        product = 1
        for factor in default.split("*"):
            product *= int(factor)
        assert ROWS[name] == f"`{product}`", name


def test_every_variable_of_the_example_is_in_the_table() -> None:
    example = re.findall(r"^([A-Z_]+)=", source(".env.example"), re.M)
    assert set(example) - {"BIND", "WORKERS_STOP"} <= set(ROWS)  # those are compose's own


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M) if anchor else []
        assert not anchor or anchor in [each.lower().replace(" ", "-") for each in headings], link


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"manage\.py ([a-z_]+)", README + OPERATIONS))
    ours = {path.stem for path in ROOT.glob("*/management/commands/[a-z]*.py")}
    django = {"migrate", "collectstatic", "createsuperuser", "changepassword", "check"}
    assert named <= ours | django
    assert ours <= set(re.findall(r"`([a-z_]+)`", OPERATIONS)) | named


def test_every_metric_of_the_alerts_exists() -> None:
    named = set(re.findall(r"taskqueue_([a-z_]+)", OPERATIONS))
    probes = source("taskqueue/probes.py")
    gauges = set(re.findall(r'_gauge\(\s*"([a-z_]+)"', probes))
    counters = set(re.findall(r'CounterMetricFamily\(\s*"taskqueue_([a-z_]+)"', probes))
    assert named == gauges | {f"{counter}_total" for counter in counters}


def test_every_event_that_an_operator_is_told_about_is_logged() -> None:
    code = "".join(
        path.read_text() for path in ROOT.glob("[jtw]*/**/*.py") if "tests" not in str(path)
    )
    named = set(re.findall(r"`((?:worker|lane|job)\.[a-z_]+)`", OPERATIONS))
    assert named
    assert all(f'"{event}"' in code for event in named)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", source("Makefile"), re.M))
    assert set(re.findall(r"make (run|test|lint|bench)", README)) <= targets


def test_the_decision_on_indexes_names_each_of_them() -> None:
    (decision,) = (ROOT / "docs" / "decisions").glob("*-indexes.md")
    text = decision.read_text()
    assert all(f"`{index.name}`" in text for index in Job._meta.indexes)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 150
