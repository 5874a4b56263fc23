"""The list of jobs: searched, counted, saved, exported."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import render, resolve_url

from jobs import counts, query, roles, rows, search, selectors, services, suggestions
from jobs.errors import FieldError, InvalidRequest
from jobs.query import Term
from jobs.rows import Row
from jobs.selectors import JobFilter, Page
from jobs.serializers.jobs import ExportShape
from jobs.states import ALLOWED, Action, State
from jobs.views.door import Request, act, live, page
from jobs.views.exports import check_form, export

OLDER_NAMES = {"status": "state", "type": "type", "queue": "queue", "priority": "priority"}


@page("view")
def jobs(request: Request) -> HttpResponse:
    text = asked(request)
    terms, faults = read(text)
    chosen = JobFilter(query=text)
    found = listed(request, chosen, faults)
    states = [term.value for term in terms if term.name == "state" and not term.negated]
    status = states[0] if len(states) == 1 else ""
    context = {
        **found,
        "text": text,
        "by_host": search.by_host(terms) and not found["faults"],
        "chips": [] if found["faults"] else list(_chips(terms)),
        "tabs": _tabs(request, terms, status, counted=not found["faults"]),
        "actions": actions(request, status),
        "fields": query.KINDS.values(),
        "views": selectors.saved_views(request.user),
        "longest": query.LONGEST,
        "exported_most": services.EXPORTED_MOST,
    }
    return live(
        request, "jobs", context, polls=found["polls"], status=400 if found["faults"] else 200
    )


def asked(request: Request) -> str:
    """Return the query of an address; those of its parameters that are older than it, as terms."""
    older = [
        Term(name, value)
        for parameter, name in OLDER_NAMES.items()
        if (value := request.GET.get(parameter, "").strip())
    ]
    return f"{query.printed(older)} {request.GET.get('q', '')}".strip()


def read(text: str) -> tuple[list[Term], tuple[FieldError, ...]]:
    """Return the terms of a query, or what is wrong with it."""
    try:
        return query.parse(text), ()
    except InvalidRequest as error:
        return [], error.errors


def listed(
    request: Request,
    chosen: JobFilter,
    faults: Sequence[FieldError] = (),
    fields: dict[str, Any] = rows.LONG,
) -> dict[str, Any]:
    """Return what a page shows of the jobs that match: one page of them, and the way to others."""
    cursor = request.GET.get("cursor", "")
    reveal = roles.may(request.user, "view_payload")
    found, newer = Page[Row]([], None), None
    if not faults:
        try:
            found = rows.rows(chosen, cursor=cursor, reveal=reveal, fields=fields)
            newer = _newer(chosen, found, reveal=reveal) if cursor else None
        except InvalidRequest as error:
            faults = error.errors
    held_by = {job.worker for job in found.jobs if job.worker}
    return {
        "page": found,
        "newer": newer,
        "cursor": cursor,
        "faults": faults,
        "examined": search.EXAMINED,
        "hosts": selectors.worker_names(held_by),
        "chosen": {"q": request.GET.get("q", ""), **_older(request)},
        # A later page stays as it was read: only the first one shows what arrives.
        "polls": not cursor and not faults,
    }


def _newer(chosen: JobFilter, page: Page[Row], *, reveal: bool) -> str | None:
    if not page.jobs:
        return ""
    return selectors.newer_cursor(chosen, page.jobs[0].id, reveal=reveal)


def _older(request: Request) -> dict[str, str]:
    return {name: request.GET.get(name, "") for name in OLDER_NAMES}


# --- chips, tabs, actions ---------------------------------------------------------------------


@dataclass(frozen=True)
class Chip:
    """One term as it was understood, and the address of the list without it."""

    term: str
    rest: str


def _chips(terms: list[Term]) -> Iterator[Chip]:
    for place, term in enumerate(terms):
        meant = term if term.name else search.meaning(term)
        yield Chip(str(meant), address(query.printed(terms[:place] + terms[place + 1 :])))


@dataclass(frozen=True)
class Tab:
    """A state, or "" for all, and how many jobs of it match; `None`: that is not known."""

    state: str
    address: str
    count: search.Count | None
    is_current: bool


def _tabs(request: Request, terms: list[Term], status: str, *, counted: bool) -> list[Tab]:
    others = query.without(terms, "state")
    found = _counts(request, others) if counted else {}
    return [
        Tab(
            state,
            address(query.printed([*([Term("state", state)] if state else []), *others])),
            found.get(state),
            state == status,
        )
        for state in ("", *(each.value for each in State))
    ]


def _counts(request: Request, others: list[Term]) -> dict[str, search.Count]:
    """Count by state what the other terms leave: from the totals if there are none."""
    if others:
        reveal = roles.may(request.user, "view_payload")
        found = selectors.count(JobFilter(query=query.printed(others)), reveal=reveal)
    else:
        totals = counts.stats().by_status
        found = {state: search.Count(jobs) for state, jobs in totals.items()}
    every = found.values()
    total = search.Count(sum(each.jobs for each in every), any(each.more for each in every))
    return {"": total, **found}


def address(text: str) -> str:
    """Return the address of the list that a query narrows."""
    return f"{resolve_url('jobs')}?{urlencode({'q': text})}" if text else resolve_url("jobs")


def actions(request: Request, status: str) -> list[Action]:
    """Return what this person may do to many jobs, what fits the state first."""
    allowed: list[Action] = [each for each in ALLOWED if roles.may_operate(request.user, each)]
    return sorted(allowed, key=lambda action: bool(status) and status not in ALLOWED[action])


# --- while typing, saving, exporting ----------------------------------------------------------


@page("view")
def job_suggest(request: Request) -> HttpResponse:
    """Answer with what may stand where the cursor is."""
    text = request.GET.get("q", "")[: query.LONGEST]
    at = request.GET.get("at", "")[:4]  # no text is longer
    place = min(int(at), len(text)) if at.isascii() and at.isdigit() else len(text)
    return render(request, "parts/suggestions.html", {"found": suggestions.suggest(text, place)})


@page("view", ("POST",))
def job_view_save(request: Request) -> HttpResponse:
    name, text = request.POST.get("name", ""), request.POST.get("q", "")

    def change() -> str:
        services.save_view(request.user, name, text)
        return f"Saved as {name.strip()}."

    return act(request, change, address(text))


@page("view", ("POST",))
def job_view_delete(request: Request, id: str) -> HttpResponse:
    def change() -> str:
        return f"The saved view {services.delete_view(request.user, id)} is deleted."

    return act(request, change, "jobs")


@page("view")
def job_export(request: Request, form: str) -> HttpResponse:
    """Send the newest jobs that match, line by line, as CSV or as one JSON object a line."""
    check_form(form)
    found = services.export_jobs(
        JobFilter(query=asked(request)),
        form,
        actor=request.user.get_username(),
        reveal=roles.may(request.user, "view_payload"),
    )
    lines = (ExportShape.model_validate(job).answer() for job in found)
    return export("jobs", form, list(ExportShape.model_fields), lines)
