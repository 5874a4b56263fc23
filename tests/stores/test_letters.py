"""Dead letters grouped by what they died of."""

import pytest
from bson import ObjectId

from jobs import letters, repository, selectors, services
from jobs.clients import collection
from jobs.errors import InvalidRequest, NotFound
from jobs.models import AuditEntry, GroupNote
from jobs.selectors import JobFilter
from tests.web.actors import dead

pytestmark = [pytest.mark.usefixtures("stores"), pytest.mark.usefixtures("_reachable")]


@pytest.fixture
def _reachable(django_db_blocker: object) -> object:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        yield


def alike_of(id: str) -> str:
    found = collection("jobs").find_one({"_id": ObjectId(id)}) or {}
    return str(found["fingerprint"])


def set_error(id: str, error: str) -> None:
    changes = {"error": error, "fingerprint": None}
    collection("jobs").update_one({"_id": ObjectId(id)}, {"$set": changes})


def test_failures_that_are_alike_are_one_group() -> None:
    ids = [dead(queue=queue) for queue in ("default", "default", "mail")]
    other = dead()
    set_error(other, "no route")
    repository.fill_fingerprints()
    found = letters.dead_groups()
    assert [(group.count, group.newest_error) for group in found.groups] == [
        (3, "boom"),
        (1, "no route"),
    ]
    group = found.groups[0]
    assert group.fingerprint == alike_of(ids[0]) == alike_of(ids[2])
    assert (group.queues, group.hours[-1], sum(group.hours)) == ({"default": 2, "mail": 1}, 3, 3)
    assert group.first_at
    assert group.newest_at
    assert group.first_at <= group.newest_at
    assert found.complete
    assert [each.count for each in letters.dead_groups(queue="mail").groups] == [1]
    assert [each.count for each in letters.dead_groups(["mail"]).groups] == [1]
    listed = selectors.jobs(JobFilter(query=f"state:dead fingerprint:{group.fingerprint}")).jobs
    assert {str(job.id) for job in listed} == set(ids)


def test_a_requeued_letter_leaves_its_group() -> None:
    id, left = dead(), dead()
    services.requeue(id, actor="ada")
    assert [group.count for group in letters.dead_group(alike_of(left)).groups] == [1]
    assert "fingerprint" not in selectors.job(id).__dict__ or selectors.job(id).fingerprint is None


def test_what_is_beyond_the_newest_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "GROUPED", 2)
    for _ in range(3):
        dead()
    found = letters.dead_groups()
    assert ([group.count for group in found.groups], found.complete) == ([2], False)
    alike = found.groups[0].fingerprint
    assert not letters.dead_group(alike).complete


def test_a_note_is_kept_audited_and_deleted() -> None:
    alike = alike_of(dead())
    services.note_group(alike, " disk full ", actor="olga")
    note = letters.dead_group(alike).groups[0].note
    assert note
    assert (note.text, note.actor) == ("disk full", "olga")
    services.note_group(alike, "", actor="ada")
    assert GroupNote.objects.count() == 0
    noted = [(entry.actor, entry.detail) for entry in AuditEntry.objects.filter(action="note")]
    assert noted == [("ada", "deleted"), ("olga", "disk full")]


def test_a_note_is_about_a_group_there_is_and_of_a_size() -> None:
    with pytest.raises(NotFound, match="No dead letter has the fingerprint"):
        services.note_group("0" * 16, "x", actor="ada")
    with pytest.raises(InvalidRequest, match="1,000 characters"):
        services.note_group("0" * 16, "x" * 1001, actor="ada")
