"""The arrows of docs/architecture.md, read from the imports themselves."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ["taskqueue", "workers", "jobs"]  # an arrow may only point to the right
FLOOR = {"states", "backoff", "errors", "registry", "context"} | {
    *("charts", "fingerprint", "query", "timeline", "tracebacks", "tree"),
}
STORES = {"clients", "mongodb", "claims", "counting", "repository", "sweeps", "lanes"} | {
    *("operations", "samples", "encoding")
}
RULES = {"services", "selectors", "requests", "idempotency", "conservation", "audit"} | {
    *("backlog", "fleet", "series", "why", "supervisors", "snippets", "links"),
    *("search", "letters", "suggestions", "counts", "rows"),
    *("snapshot", "people", "sessions", "system", "accounts", "logins"),
}
DOORS = {"api", "views", "forms", "serializers", "admin"}
DRIVERS = {
    "pymongo": {
        *("jobs.clients", "jobs.mongodb", "jobs.counting", "jobs.repository", "jobs.sweeps"),
        *("jobs.indexes", "jobs.operations", "jobs.problems", "jobs.audit", "jobs.samples"),
        *("jobs.outages", "jobs.objects"),
    },
    "redis": {"jobs.clients", "jobs.lanes", "jobs.services"},
}
UNSAID = {"utils", "helpers", "common"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                yield name.removesuffix(".__init__"), ast.parse(path.read_text())


def imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


ALL = {name: imports(tree) for name, tree in modules()}


def uses(name: str, target: str) -> bool:
    return any(used == target or used.startswith(target + ".") for used in ALL[name])


@pytest.mark.parametrize("name", ALL)
def test_packages_point_one_way(name: str) -> None:
    package = name.split(".")[0]
    forbidden = PACKAGES[: PACKAGES.index(package)]
    assert not [other for other in forbidden if uses(name, other)]


@pytest.mark.parametrize("name", sorted(f"jobs.{part}" for part in FLOOR))
def test_the_floor_knows_neither_django_nor_a_driver_nor_what_stands_on_it(name: str) -> None:
    above = [f"jobs.{part}" for part in STORES | RULES | DOORS | {"models"}]
    assert not [used for used in (*above, "django", "pymongo", "redis", "bson") if uses(name, used)]


@pytest.mark.parametrize("name", sorted(f"jobs.{part}" for part in STORES))
def test_the_stores_know_no_rule_and_no_door(name: str) -> None:
    assert not [used for used in RULES | DOORS if uses(name, f"jobs.{used}")]


@pytest.mark.parametrize(
    "name", sorted(name for name in ALL if name.startswith(tuple(f"jobs.{part}" for part in DOORS)))
)
def test_the_doors_reach_the_stores_only_through_services_and_selectors(name: str) -> None:
    assert not [used for used in STORES if uses(name, f"jobs.{used}")]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_driver_is_imported_only_where_its_store_is_spoken_to(driver: str) -> None:
    errors = {f"{driver}.exceptions.", f"{driver}.errors."}  # what a caller catches is no query
    users = {
        name
        for name, used in ALL.items()
        if name.startswith("jobs.")
        and any(
            module == driver or module.startswith(driver + ".")
            for module in used
            if not any((module + ".").startswith(error) for error in errors)
        )
    }
    commands = {name for name in users if ".management.commands." in name}
    assert users - commands <= DRIVERS[driver]


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [name for name in ALL if set(name.split(".")) & UNSAID]


def test_a_worker_loads_nothing_of_the_api() -> None:
    """It would keep that in memory for nothing, and start later."""
    code = (
        "import sys, django; django.setup(); import workers.management.commands.runworkers;"
        "print([name for name in ('rest_framework.views', 'jobs.api') if name in sys.modules])"
    )
    settings = {"DJANGO_SETTINGS_MODULE": "taskqueue.settings"}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "[]\n", ran.stderr
