from typing import Any

import pytest

from jobs.errors import InvalidRequest
from jobs.records import aggregate, compare, deduplicate, describe, select
from jobs.tasks import process_data

PEOPLE: list[dict[str, Any]] = [
    {"name": "Ada", "age": 36, "city": "London"},
    {"name": "Bo", "age": None, "city": "Oslo"},
    {"name": "Cy", "city": "London"},
    {"name": "Di", "age": 36.0, "city": "Oslo"},
    {"name": "Ed", "age": True},
]


def names(result: dict[str, Any]) -> list[str]:
    return [record["name"] for record in result["records"]]


def groups(*args: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = aggregate(*args)["groups"]
    return found


# --- equality and order -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (None, None),
        ("a", "a"),
        ([1, [2]], [1.0, [2.0]]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}),
        ({}, {}),
    ],
)
def test_equal_json_values_are_equal(left: object, right: object) -> None:
    assert compare(left, "eq", right)
    assert not compare(left, "ne", right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True),
        (0, False),
        (0, None),
        (False, None),
        ("", None),
        ("1", 1),
        ([], {}),
        ([True], [1]),
        ([1, 2], [2, 1]),
        ({"a": True}, {"a": 1}),
        ({"a": None}, {}),
        (True, ["boolean", True]),
        (2**53 + 1, float(2**53)),
        ("é", "e\u0301"),
    ],
)
def test_values_of_different_types_or_contents_are_unequal(left: object, right: object) -> None:
    assert not compare(left, "eq", right)
    assert compare(left, "ne", right)


@pytest.mark.parametrize(
    ("left", "operator", "right", "holds"),
    [
        (1, "lt", 2, True),
        (1, "lt", 1.0, False),
        (1, "lte", 1.0, True),
        (2.5, "gt", 2, True),
        (2, "gte", 2.5, False),
        ("a", "lt", "b", True),
        ("Z", "lt", "a", True),
        ("10", "lt", "9", True),
        ("", "gte", "", True),
    ],
)
def test_numbers_and_strings_have_an_order(
    left: object, operator: Any, right: object, holds: bool
) -> None:
    assert compare(left, operator, right) is holds


@pytest.mark.parametrize("operator", ["lt", "lte", "gt", "gte"])
@pytest.mark.parametrize(
    ("left", "right"),
    [(1, "1"), (True, 1), (True, True), (None, None), (None, 1), ([1], [1]), ({}, {})],
)
def test_nothing_else_is_ever_less_or_greater(left: object, operator: Any, right: object) -> None:
    assert not compare(left, operator, right)


@pytest.mark.parametrize(
    ("left", "right", "holds"),
    [
        ("London", "don", True),
        ("London", "DON", False),
        ("London", "", True),
        ("1", 1, False),
        ([1, 2], 2.0, True),
        ([1], True, False),
        ([None], None, True),
        ([], None, False),
        ({"a": 1}, "a", False),
        (None, None, False),
        (12, 1, False),
    ],
)
def test_contains_looks_for_a_substring_or_an_equal_element(
    left: object, right: object, holds: bool
) -> None:
    assert compare(left, "contains", right) is holds


# --- filter -----------------------------------------------------------------------------------


def test_filter_keeps_the_matching_records_in_their_order() -> None:
    result = select(PEOPLE, "age", "eq", 36)
    assert names(result) == ["Ada", "Di"]
    assert (result["action"], result["read"], result["count"]) == ("filter", 5, 2)


def test_filter_does_not_take_true_for_one() -> None:
    assert names(select(PEOPLE, "age", "lte", 1)) == []
    assert names(select(PEOPLE, "age", "eq", True)) == ["Ed"]


def test_filter_tells_a_missing_field_from_null() -> None:
    assert names(select(PEOPLE, "age", "eq", None)) == ["Bo"]
    assert names(select(PEOPLE, "age", "ne", None)) == ["Ada", "Cy", "Di", "Ed"]


def test_every_record_passes_either_eq_or_ne() -> None:
    for value in (36, None, True, "36"):
        kept = names(select(PEOPLE, "age", "eq", value))
        rest = names(select(PEOPLE, "age", "ne", value))
        assert sorted(kept + rest) == ["Ada", "Bo", "Cy", "Di", "Ed"]


def test_filter_gives_a_dot_in_a_field_no_meaning() -> None:
    rows: list[Any] = [{"a.b": 1}, {"a": {"b": 1}}]
    assert select(rows, "a.b", "eq", 1)["records"] == [{"a.b": 1}]


def test_filter_of_no_records_keeps_none() -> None:
    assert select([], "age", "eq", 1)["records"] == []


def test_filter_without_a_field_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"^field: filter needs"):
        select(PEOPLE, "", "eq", 1)


# --- aggregate --------------------------------------------------------------------------------


def test_count_counts_the_records() -> None:
    assert groups(PEOPLE, "count", "") == [{"records": 5, "value": 5}]


def test_count_of_a_field_counts_where_it_is_present_and_not_null() -> None:
    assert groups(PEOPLE, "count", "age") == [{"records": 5, "value": 3}]


def test_groups_come_by_first_appearance_and_the_missing_one_has_no_label() -> None:
    assert groups(PEOPLE, "count", "", "city") == [
        {"group": "London", "records": 2, "value": 2},
        {"group": "Oslo", "records": 2, "value": 2},
        {"records": 1, "value": 1},
    ]


def test_groups_tell_null_true_one_and_missing_apart() -> None:
    rows: list[Any] = [{"k": 1}, {"k": True}, {"k": None}, {}, {"k": 1.0}, {"k": "1"}]
    found = groups(rows, "count", "", "k")
    assert [(group.get("group", "missing"), group["value"]) for group in found] == [
        (1, 2),
        (True, 1),
        (None, 1),
        ("missing", 1),
        ("1", 1),
    ]


def test_groups_may_be_lists_or_objects() -> None:
    rows: list[Any] = [{"k": [1]}, {"k": [1.0]}, {"k": {"a": 1}}]
    found = groups(rows, "count", "", "k")
    assert [group["group"] for group in found] == [[1], {"a": 1}]


def test_sum_and_mean_take_numbers_alone() -> None:
    rows: list[Any] = [{"n": 1}, {"n": "5"}, {"n": None}, {}, {"n": True}, {"n": 2}]
    assert groups(rows, "sum", "n") == [{"records": 6, "used": 2, "value": 3}]
    assert groups(rows, "mean", "n") == [{"records": 6, "used": 2, "value": 1.5}]


def test_a_sum_of_whole_numbers_is_a_whole_number_and_exact() -> None:
    (found,) = groups([{"n": 2**53}, {"n": 1}], "sum", "n")
    assert found["value"] == 2**53 + 1
    assert isinstance(found["value"], int)


def test_a_sum_of_fractions_is_exact() -> None:
    assert groups([{"n": 0.1}] * 10, "sum", "n")[0]["value"] == 1.0
    big: list[Any] = [{"n": 1e16}, {"n": 1.0}, {"n": -1e16}]
    assert groups(big, "sum", "n")[0]["value"] == 1.0


@pytest.mark.parametrize(
    ("function", "value"), [("sum", 0), ("mean", None), ("min", None), ("max", None)]
)
def test_of_no_numbers_the_sum_is_zero_and_the_rest_is_null(function: Any, value: Any) -> None:
    assert groups([{"n": "x"}], function, "n") == [{"records": 1, "used": 0, "value": value}]
    assert groups([], function, "n") == [{"records": 0, "used": 0, "value": value}]


def test_min_and_max_ignore_what_is_no_number() -> None:
    rows: list[Any] = [{"n": 3}, {"n": -1.5}, {"n": False}, {"n": "0"}]
    assert groups(rows, "min", "n")[0]["value"] == -1.5
    assert groups(rows, "max", "n")[0]["value"] == 3


def test_no_records_are_one_group_or_no_groups() -> None:
    assert groups([], "count", "") == [{"records": 0, "value": 0}]
    assert groups([], "count", "", "city") == []


@pytest.mark.parametrize(
    ("function", "numbers"),
    [("sum", [1e308, 1e308]), ("mean", [1e308, 1e308]), ("sum", [2**63 - 1, 1])],
)
def test_a_sum_that_no_store_can_keep_is_an_error(function: Any, numbers: list[Any]) -> None:
    with pytest.raises(ValueError, match="too large"):
        aggregate([{"n": number} for number in numbers], function, "n")


def test_a_mean_may_have_a_sum_wider_than_64_bits() -> None:
    assert groups([{"n": 2**62}] * 4, "mean", "n")[0]["value"] == 2.0**62


@pytest.mark.parametrize("function", ["sum", "mean", "min", "max"])
def test_aggregate_without_a_field_is_an_error_that_names_it(function: Any) -> None:
    with pytest.raises(ValueError, match=rf"^field: aggregate with '{function}' needs"):
        aggregate(PEOPLE, function, "")


# --- deduplicate ------------------------------------------------------------------------------


def test_deduplicate_keeps_the_first_of_equal_records() -> None:
    rows: list[Any] = [{"a": 1, "b": 2}, {"b": 2.0, "a": 1.0}, {"a": True, "b": 2}, {"a": 1}]
    result = deduplicate(rows)
    assert result["records"] == [rows[0], rows[2], rows[3]]
    assert (result["read"], result["count"]) == (4, 3)


def test_deduplicate_by_keys_looks_at_nothing_else() -> None:
    assert names(deduplicate(PEOPLE, ["city"])) == ["Ada", "Bo", "Ed"]


def test_deduplicate_by_several_keys_wants_all_of_them_equal() -> None:
    assert names(deduplicate(PEOPLE, ["city", "age"])) == ["Ada", "Bo", "Cy", "Di", "Ed"]


def test_deduplicate_tells_a_missing_key_from_null() -> None:
    rows: list[Any] = [{"n": 1, "k": None}, {"n": 2}, {"n": 3}, {"n": 4, "k": None}]
    assert [record["n"] for record in deduplicate(rows, ["k"])["records"]] == [1, 2]


def test_deduplicate_compares_deeply() -> None:
    rows: list[Any] = [{"a": [{"b": 1}]}, {"a": [{"b": 1.0}]}, {"a": [{"b": True}]}]
    assert deduplicate(rows)["records"] == [rows[0], rows[2]]


def test_deduplicate_of_no_records_is_empty() -> None:
    assert deduplicate([])["records"] == []


# --- describe ---------------------------------------------------------------------------------


def test_describe_says_what_each_field_holds() -> None:
    result = describe(PEOPLE)
    assert list(result["fields"]) == ["name", "age", "city"]
    assert (result["read"], result["count"]) == (5, 3)
    assert result["fields"]["age"] == {
        "present": 4,
        "missing": 1,
        "types": {"number": 2, "null": 1, "boolean": 1},
        "distinct": 3,
        "min": 36,
        "max": 36,
        "mean": 36.0,
    }


def test_describe_has_no_numbers_to_tell_of_words() -> None:
    found = describe(PEOPLE)["fields"]["name"]
    assert (found["min"], found["max"], found["mean"]) == (None, None, None)


def test_describe_names_every_json_type() -> None:
    values: list[Any] = [None, True, 1, 1.5, "x", [], {}]
    rows: list[Any] = [{"v": value} for value in values]
    assert describe(rows)["fields"]["v"]["types"] == {
        "null": 1,
        "boolean": 1,
        "number": 2,
        "string": 1,
        "array": 1,
        "object": 1,
    }


def test_describe_of_no_records_has_no_fields() -> None:
    assert describe([]) == {"action": "describe", "read": 0, "count": 0, "fields": {}}


# --- the job type -----------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["describe", "filter", "aggregate", "deduplicate"])
def test_the_job_type_runs_every_action_from_a_stored_payload(action: str) -> None:
    payload = process_data.validate(
        {"action": action, "records": PEOPLE, "field": "age", "value": 36, "group_by": "city"}
    )
    assert process_data.run(payload)["action"] == action


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"action": "explode"}, "payload.action"),
        ({"records": {}}, "payload.records"),
        ({"records": [1]}, "payload.records.0"),
        ({"records": [{"a": float("nan")}]}, "payload.records.0.a.float"),
        ({"records": [{}] * 100_001}, "payload.records"),
        ({"operator": "like"}, "payload.operator"),
        ({"function": "median"}, "payload.function"),
        ({"keys": "name"}, "payload.keys"),
        ({"extra": 1}, "payload.extra"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(fault: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        process_data.validate({"action": "describe", "records": [], **fault})
    assert field in [error.field for error in refused.value.errors]


@pytest.mark.parametrize("value", ["1", 1, 1.5, True, None])
def test_a_value_keeps_its_type_on_its_way(value: Any) -> None:
    payload = process_data.validate({"action": "filter", "records": [], "value": value})
    assert type(payload["value"]) is type(value)


def test_the_records_that_went_in_are_not_changed() -> None:
    before = [dict(person) for person in PEOPLE]
    select(PEOPLE, "age", "eq", 36)
    aggregate(PEOPLE, "mean", "age", "city")
    deduplicate(PEOPLE)
    describe(PEOPLE)
    assert before == PEOPLE
