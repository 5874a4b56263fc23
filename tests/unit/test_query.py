"""The query language: what is read, what is refused and where, and that it prints what it reads."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import query
from jobs.query import BadQuery, Term, parse, printed

PIECES = [
    "state:",
    "dead",
    "-",
    "args.to",
    ":",
    '"',
    "\\",
    " ",
    ">",
    "<=",
    "*",
    "age:>1h",
    "é",
    "\n",
]


def test_every_field_is_read() -> None:
    text = (
        "state:dead type:send_email queue:high priority:low tag:bulk -tag:x worker:w1 "
        'error:timeout args.to:"*@x.com" age:>1h attempts:>2 created:2026-11-24.. word'
    )
    assert parse(text) == [
        Term("state", "dead"),
        Term("type", "send_email"),
        Term("queue", "high"),
        Term("priority", "low"),
        Term("tag", "bulk"),
        Term("tag", "x", negated=True),
        Term("worker", "w1"),
        Term("error", "timeout"),
        Term("args.to", "*@x.com"),
        Term("age", "1h", ">"),
        Term("attempts", "2", ">"),
        Term("created", "2026-11-24.."),
        Term("", "word"),
    ]


def test_quotes_hold_spaces_quotes_and_what_would_else_be_read() -> None:
    assert parse(r'error:"no \"such\" file" "state:dead" args.n:">5"') == [
        Term("error", 'no "such" file'),
        Term("", "state:dead"),
        Term("args.n", ">5"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type:a state:nope", "at 14: state wants one of scheduled"),
        ("state:dead age:1h", "at 16: age wants time since it was created"),
        ("age:>soon", "at 6: age wants"),
        ("colour:red", "at 1: there is no field colour. The fields are state, type,"),
        ('error:"no end', "at 7: this quote is not closed"),
        ('error:a"b"', 'at 8: a quote within a word: quote all of the value, e.g. "a b".'),
        ('error:"a"b', "at 10: a space is missing"),
        ("a  -", "at 5: write what to look for"),
        ("type:", "at 6: type wants a job type, e.g. type:send_email."),
        ("args.:x", "at 1: name the payload field"),
        ("args.$where:x", "at 1: name the payload field"),
        ("args.n:>many", "at 9: only numbers can be compared, e.g. args.n:>100."),
        ("args.n:*a*b*c*", "at 8: use at most 3 *"),
        ("created:yesterday", "at 9: created wants a day"),
        ("created:..", "at 9: created wants a day"),
        ("created:2026-11-24T10:00", "at 9: created wants a day"),
        ("id:abc", "at 4: id wants"),
        ("a\0", "at 2: this character cannot be searched for"),
        ("x" * 501, "at 501: it is too long"),
        ("a " * 21, "at 41: it has too many terms"),
    ],
)
def test_what_is_refused_names_its_place_and_the_remedy(text: str, said: str) -> None:
    with pytest.raises(BadQuery) as refused:
        parse(text)
    (fault,) = refused.value.errors
    assert fault.field == "query"
    assert fault.message.startswith(said)
    assert refused.value.position == int(said.split(":")[0].removeprefix("at "))


def test_periods_hold_their_last_day() -> None:
    first, after = datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC)
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert query.period("2026-11-24") == (first, after)
    assert query.period("2026-11-24..") == (first, None)
    assert query.period("..2026-11-24") == (None, after)
    assert query.period("2026-11-24..2026-11-24T12:00") == (first, noon)
    assert query.period("2026-11-24T13:00+01:00..") == (noon, None)


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-24t12:00", "2026-11-24_12:00", "2026-11-24 12:00", "2026-11-24T12:00"),
        *("2026-W48", "2026-W48..", "..2026-W48", "20261124", "2026-W48-2", "٢٠٢٦-11-24"),
    ],
)
def test_a_time_or_week_is_no_day(text: str) -> None:
    assert query.period(text) is None


def test_ages() -> None:
    assert [query.seconds(age) for age in ("90s", "1.5h", "2d", "h", "1y")] == [
        *(90.0, 5400.0, 172800.0),
        *(None, None),
    ]


@pytest.mark.parametrize(
    "number", [5, -1.5, 1834567890123456789, -(2**63), 0.1 + 0.2, 1e-07, 1e16, 1e300, 0, -0.0]
)
def test_numbers_are_read_as_python_and_json_print_them(number: float) -> None:
    read = query.number(repr(number))
    assert (read, type(read)) == (number, type(number))


def test_what_no_store_has_as_a_number_is_none() -> None:
    assert query.number("1E5") == 1e5
    assert query.number(str(2**63)) == 2.0**63  # MongoDB's whole numbers end before
    for text in ("٣", "", "007", "1.", ".5", "NaN", "Infinity", "1e999", "9" * 400, " 1", "1e5x"):
        assert query.number(text) is None, text


def test_the_word_at_the_cursor_may_hold_a_quoted_space() -> None:
    text = 'state:dead error:"no such" ty'
    assert query.word_at(text, 20) == (11, 26)
    assert query.word_at(text, len(text)) == (27, 29)
    assert query.word_at("a  b", 2) == (2, 2)


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_any_text_is_read_or_refused_at_a_place_and_prints_what_it_reads(text: str) -> None:
    terms, position = _read(text)
    assert 1 <= position <= len(text) + 1
    assert all(text[term.start : term.end].strip() for term in terms)
    assert parse(printed(terms)) == terms


def _read(text: str) -> tuple[list[Term], int]:
    try:
        return parse(text), 1
    except BadQuery as refused:
        return [], refused.position
