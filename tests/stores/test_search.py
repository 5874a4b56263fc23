"""The query language against a real MongoDB: what each term finds, and how far a page looks."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from cryptography.fernet import Fernet
from pydantic import SecretStr
from pytest_django.fixtures import Settings

from jobs import counts, registry, rows, search, secrets, selectors, services
from jobs.clients import collection
from jobs.errors import InvalidRequest
from jobs.selectors import JobFilter

pytestmark = pytest.mark.usefixtures("stores")
MAIL, LOGIN = "search_mail", "search_login"
TRACE = "Traceback (most recent call last)"


@pytest.fixture(autouse=True)
def _types(stores: str) -> Iterator[None]:
    def mail(to: str, copies: int = 1, quick: bool = False) -> None:
        """Send."""

    def login(user: str, pin: SecretStr) -> None:
        """Log in."""

    registry.job(name=MAIL)(mail)
    registry.job(name=LOGIN)(login)
    yield
    registry._types.pop(MAIL)
    registry._types.pop(LOGIN)


def mail(to: str = "ada@example.org", **chosen: object) -> str:
    copies = chosen.pop("copies", 1)
    return services.enqueue(MAIL, {"to": to, "copies": copies}, **chosen)


def fail(id: str, error: str, status: str = "dead") -> None:
    attempt = {"error_type": "TimeoutError", "error": error, "traceback": TRACE}
    failed = {"status": status, "error": error, "attempts": [attempt], "attempt": 3}
    collection("jobs").update_one({"_id": ObjectId(id)}, {"$set": failed})


def found(query: str, **how: object) -> set[str]:
    counts.forget()
    return {str(job.id) for job in selectors.jobs(JobFilter(query=query), **how).jobs}


def test_each_term_finds_its_jobs_and_its_negation_the_others() -> None:
    worker = ObjectId()
    services.register_worker(
        worker, ["low"], supervisor=ObjectId(), host="app-1", pid=7, concurrency=1, version="1"
    )
    one = mail("ada@example.org", queue="low", priority="high", tags=["bulk", "blue"], copies=20)
    other = services.enqueue(LOGIN, {"user": "bob", "pin": "secret-pin"})
    fail(one, "no route to host")
    earlier = datetime.now(UTC) - timedelta(days=3)
    changes = {
        "worker": worker,
        "created_at": earlier,
        "_id": search.id_near(earlier, timedelta(0)),
    }
    document = collection("jobs").find_one_and_delete({"_id": ObjectId(one)}) or {}
    collection("jobs").insert_one({**document, **changes})
    one = str(changes["_id"])
    for query in (
        "state:dead",
        f"type:{MAIL}",
        "queue:low",
        "priority:high",
        "tag:bulk",
        f"id:{one}",
        f"worker:{worker}",
        "worker:app-1",
        "worker:app-1:7",
        "error:ROUTE",
        "error:timeout",
        "attempts:3",
        "attempts:>=3",
        "age:>1d",
        f"created:{earlier:%Y-%m-%d}",
        f"created:..{earlier:%Y-%m-%d}",
        "args.to:ada@example.org",
        'args.to:"*@example.org"',
        "args.copies:20",
        "args.copies:>19",
        "args.quick:false",
        one,
        MAIL,
        "blue",
        "route",
        'state:dead -tag:red "to host"',
    ):
        assert found(query) == {one}, query
        if " " not in query:
            assert found(f"-{query}") == {other}, query
    assert found("state:dead state:pending") == set()


def test_an_error_is_the_last_one_by_its_text_or_kind() -> None:
    one, never = mail(), mail()
    fail(one, "no route to host", "retrying")
    earlier = {"error_type": "KeyError", "error": "'pin'", "traceback": ""}
    first = {"$each": [earlier], "$position": 0}
    collection("jobs").update_one({"_id": ObjectId(one)}, {"$push": {"attempts": first}})
    for query, those in (
        ("error:timeouterr", {one}),
        ("error:ROUTE", {one}),
        ("error:keyerror", set()),
        ("error:\"'pin'\"", set()),
        ("-error:timeout", {never}),
        ("-error:keyerror", {one, never}),
    ):
        assert found(query) == those, query


def test_a_host_is_refused_whose_workers_are_forgotten_or_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = mail()
    for pid in (7, 8):
        id = ObjectId()
        services.register_worker(
            id, ["low"], supervisor=id, host="app-1", pid=pid, concurrency=1, version="1"
        )
        collection("jobs").update_one({"_id": ObjectId(held)}, {"$set": {"worker": id}})
    for query in ("worker:app-2", "-worker:app-2", "worker:app-1:9"):
        with pytest.raises(InvalidRequest, match="forgotten a day after its end"):
            found(query)
    assert found("worker:app-1") == {held}
    monkeypatch.setattr(search, "MOST_WORKERS", 1)
    with pytest.raises(InvalidRequest, match="at 7: more than 1 workers"):
        found("tag:x -worker:app-1")
    assert found("worker:app-1:8") == {held}


def test_what_is_typed_is_literal() -> None:
    one = mail("a.b+c[d]@example.org")
    fail(one, "50% of $where (.*)")
    mail("aXb@example.org")
    assert found('args.to:"a.b+c[d]@example.*"') == {one}
    assert found('error:"(.*)"') == {one}
    assert found('error:"o."') == set()
    assert found("args.to:$ne") == set()


def test_numbers_are_found_as_they_are_printed() -> None:
    id = mail()
    for number in (1834567890123456789, 0.1 + 0.2, 100_000):
        change = {"$set": {"payload.copies": number}}
        collection("jobs").update_one({"_id": ObjectId(id)}, change)
        assert found(f"args.copies:{number}") == {id}, number
    assert found("args.copies:1e5") == {id}
    assert found("args.copies:>99999999999999999999") == set()


def test_null_is_a_value_and_not_a_missing_field() -> None:
    null, word, lists, missing = mail(), mail(), mail(), mail()
    for id, payload in (
        (null, {"cc": None}),
        (word, {"cc": "null"}),
        (lists, {"cc": [{"to": "ada"}, {"name": "bob"}]}),
    ):
        collection("jobs").update_one({"_id": ObjectId(id)}, {"$set": {"payload": payload}})
    assert found("args.cc:null", reveal=True) == {null, word}
    assert found("args.cc.to:null", reveal=True) == set()
    assert found("-args.cc:null", reveal=True) == {lists, missing}


def test_no_secret_is_searched_without_the_right() -> None:
    id = services.enqueue(LOGIN, {"user": "bob", "pin": "secret-pin"})
    with pytest.raises(InvalidRequest, match="at 1: pin is secret"):
        found("args.pin:secret-pin")
    with pytest.raises(InvalidRequest, match=r"at 12: api_token\.x is secret"):
        found("state:dead -args.api_token.x:1")
    assert found("args.pin:secret-pin", reveal=True) == {id}
    assert found("args.user:bob") == {id}


def test_what_is_looked_for_in_secret_fields_is_kept_masked() -> None:
    assert search.masked('args.pin:hunter2 -args.password:">x" args.user:bob tag:blue') == (
        f"args.pin:{secrets.MASK} -args.password:{secrets.MASK} args.user:bob tag:blue"
    )
    chosen = JobFilter(query="args.pin:hunter2")
    frozen = services.preview("cancel", chosen, actor="ada", reveal=True)
    kept = collection("operations").find_one() or {}
    assert kept["filter"] == {"query": f"args.pin:{secrets.MASK}"}
    assert frozen.count == 0


def test_unknown_types_are_not_searched_in_without_the_right() -> None:
    id = mail()
    collection("jobs").update_one({"_id": ObjectId(id)}, {"$set": {"type": "gone"}})
    assert found("args.to:ada@example.org") == set()
    assert found("args.to:ada@example.org", reveal=True) == {id}


def test_encrypted_payloads_say_that_they_cannot_be_searched(settings: Settings) -> None:
    settings.PAYLOAD_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(InvalidRequest, match="PAYLOAD_KEYS"):
        found("args.to:x", reveal=True)


def test_a_page_says_how_far_it_looked_and_the_next_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "EXAMINED", 4)
    sought = mail("old@example.org")
    for _ in range(6):
        mail()
    chosen = JobFilter(query="args.to:old@example.org")
    first = selectors.jobs(chosen)
    assert first.jobs == []
    assert first.searched_to
    assert first.next_cursor
    second = selectors.jobs(chosen, cursor=first.next_cursor)
    assert [str(job.id) for job in second.jobs] == [sought]
    assert (second.next_cursor, second.searched_to) == (None, None)
    newer = selectors.newer_cursor(chosen, str(second.jobs[0].id))
    assert newer
    assert {str(job.id) for job in selectors.every_job(chosen, 10)} == {sought}


class Moving:
    """The jobs, some of which move between the first two reads of them."""

    def __init__(self, move: Callable[[], object]) -> None:
        self.moves = [move]
        self.reads = 0

    def __call__(self, name: str) -> "Moving":
        return self

    def __getattr__(self, name: str) -> Any:
        self.reads += 1
        if self.reads == 2:
            self.moves.pop()()
        return getattr(collection("jobs"), name)


def walked(query: str, order: selectors.Order) -> list[str]:
    """Return what all pages of a search show, one after the other."""
    counts.forget()
    ids, cursor = [], ""
    while True:
        page = selectors.jobs(JobFilter(query=query), cursor=cursor, order=order)
        ids += [str(job.id) for job in page.jobs]
        if page.next_cursor is None:
            return ids
        cursor = page.next_cursor


def test_jobs_that_leave_meanwhile_make_no_page_skip_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = [mail(copies=number) for number in range(7)]
    first = {"_id": {"$in": [ObjectId(id) for id in ids[:2]]}}
    moving = Moving(lambda: collection("jobs").update_many(first, {"$set": {"status": "running"}}))
    monkeypatch.setattr(search, "EXAMINED", 4)
    monkeypatch.setattr(search, "collection", moving)
    assert walked("state:pending args.copies:4", "oldest") == [ids[4]]
    assert not moving.moves


def test_jobs_that_arrive_meanwhile_make_no_page_repeat_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = [mail(copies=number) for number in range(7)]
    moving = Moving(lambda: [mail(copies=20) for _ in range(2)])
    monkeypatch.setattr(search, "EXAMINED", 4)
    monkeypatch.setattr(search, "collection", moving)
    assert walked("args.copies:3", "newest") == [ids[3]]
    assert not moving.moves


def test_a_full_page_comes_before_the_limit_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "EXAMINED", 4)
    ids = [mail() for _ in range(6)]
    page = selectors.jobs(JobFilter(query="args.copies:1"), size=3)
    assert [str(job.id) for job in page.jobs] == ids[:2:-1]
    assert page.searched_to is None
    assert page.next_cursor


def test_what_an_index_answers_is_found_however_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "EXAMINED", 2)
    old = mail(tags=["bulk"])
    dead = mail()
    fail(dead, "no route")
    for _ in range(6):
        services.enqueue(LOGIN, {"user": "bob", "pin": "secret-pin"})
    services.recount()
    assert found("tag:bulk") == {old}
    assert found(f"state:dead type:{MAIL} error:route") == {dead}
    assert found(f"type:{MAIL}") == {old, dead}
    assert found(f"id:{old} state:pending") == {old}


def test_counts_are_by_state_and_say_when_they_are_not_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail(mail(), "no")
    for _ in range(3):
        mail()
    services.recount()
    counts.forget()
    found = selectors.count(JobFilter(query=f"type:{MAIL}"))
    assert (found["pending"], found["dead"]) == (search.Count(3), search.Count(1))
    monkeypatch.setattr(search, "COUNTED", 2)
    assert selectors.count(JobFilter(query=f"type:{MAIL} args.copies:1"))["dead"] == search.Count(1)
    assert selectors.count(JobFilter(query="args.copies:1"))["pending"] == search.Count(
        2, more=True
    )
    assert selectors.count(JobFilter(query="args.copies:1"))["dead"] == search.Count(1)


def test_a_count_is_not_taken_for_whole_because_the_total_is_older(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "COUNTED", 2)
    every = search.conditions("args.copies:1")
    for more in (False, False, True):
        mail()
        counted = search.count(every, {"pending": 1})["pending"]
        assert counted.more is more


def test_a_list_shows_masked_payloads_and_the_last_attempt_without_its_trace() -> None:
    id = services.enqueue(LOGIN, {"user": "bob", "pin": "secret-pin"})
    fail(id, "no")
    (row,) = rows.rows(JobFilter(query=LOGIN)).jobs
    assert row.args == (("user", "bob"), ("pin", secrets.MASK))
    assert (row.error_type, row.traceback) == ("TimeoutError", "")
    (letter,) = rows.rows(JobFilter(query=LOGIN), fields=rows.LETTER).jobs
    assert (letter.args, letter.error_type, letter.traceback) == ((), "TimeoutError", TRACE)


def test_a_large_payload_is_not_read_for_a_list() -> None:
    id = services.enqueue(MAIL, {"to": "a" * rows.MOST_BYTES, "copies": 1})
    (row,) = rows.rows(JobFilter(ids=(id,))).jobs
    assert row.args is None
