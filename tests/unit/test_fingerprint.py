"""Which failures count as alike."""

import time

import pytest

from jobs import fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ran past 30 s", "ran past 31.5 s"),
        ("Connection to 10.0.1.7:5432 refused", "Connection to 10.0.212.9:80 refused"),
        ("no such file: '/tmp/a'", "no such file: '/tmp/b c'"),
        ("550 no mailbox ada@example.org", "551 no mailbox bob@example.net"),
        ("job 6743f0a1b2c3d4e5f6a7b8c9 is gone", "job 0123456789abcdef01234567 is gone"),
        ("6f9619ff-8b86-d011-b42d-00c04fc964ff", "0f9619ff-8b86-d011-b42d-00c04fc964aa"),
        ("a  b\nc", "a b c "),
    ],
)
def test_what_varies_in_a_message_does_not_count(one: str, other: str) -> None:
    assert fingerprint.of("t", "E", one) == fingerprint.of("t", "E", other)


def test_type_kind_and_words_count() -> None:
    found = {
        fingerprint.of(*failure)
        for failure in [("t", "E", "no"), ("u", "E", "no"), ("t", "F", "no"), ("t", "E", "yes")]
    }
    assert len(found) == 4
    assert all(len(one) == 16 for one in found)


def test_any_text_has_one() -> None:
    assert len(fingerprint.of("t", "E", "\ud800 \0" + "9" * 10_000)) == 16


def test_a_failure_known_by_it_for_long_still_has_it() -> None:
    message = "550 no <ada@example.org>, nor @bob, c@ or @d@e"
    assert fingerprint.of("t", "E", message) == "e7c70c48e8b39dce"


@pytest.mark.parametrize("word", ["x", "1a-", "\"'", "/a.b"])
def test_a_long_word_is_not_read_again_from_each_of_its_letters(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "LONGEST", 30_000)
    began = time.process_time()
    fingerprint.of("t", "E", word * 30_000)
    assert time.process_time() - began < 1.0
