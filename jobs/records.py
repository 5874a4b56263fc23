"""What `process_data` does with records. Values are JSON values and mean what JSON says.

- *Equality* is deep. There is one kind of number, so 1 equals 1.0; true is not 1, "1" is not 1.
  Objects are equal whatever the order of their keys, arrays only in the same order.
- *Missing* is not null: a record without a field is unequal to every value, null included.
- *Order* exists between two numbers and between two strings (by code point). Between anything
  else, booleans and null included, less and greater are never true.
- A field is a name at the top of a record: dots in it have no meaning.
- Records come out as they went in, in their order; an empty list is a valid input everywhere.
"""

import math
import operator as operators
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any, Literal

from pydantic import JsonValue

Action = Literal["describe", "filter", "aggregate", "deduplicate"]
Operator = Literal["eq", "ne", "lt", "lte", "gt", "gte", "contains"]
Function = Literal["count", "sum", "mean", "min", "max"]
Number = int | float
Scalar = str | int | float | bool | None
Record = dict[str, JsonValue]
Result = dict[str, Any]

MISSING = object()
TOO_LARGE = "The numbers are too large to add up."
INT64 = range(-(2**63), 2**63)  # MongoDB keeps no wider integer
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operators.lt,
    "lte": operators.le,
    "gt": operators.gt,
    "gte": operators.ge,
}


def describe(records: Sequence[Record]) -> Result:
    """Return, per field in order of first appearance, what the records hold in it.

    `present` and `missing` add up to the records read; `types` counts JSON types, `distinct` the
    unequal values; `min`, `max` and `mean` are of the numbers alone, null where there is none.
    """
    names = dict.fromkeys(name for record in records for name in record)
    fields = {name: _describe(records, name) for name in names}
    return {"action": "describe", "read": len(records), "count": len(fields), "fields": fields}


def select(records: Sequence[Record], field: str, operator: Operator, value: Scalar) -> Result:
    """Return the records whose `field` compares with `value`.

    `eq` and `ne` are opposites: a record without the field passes `ne`, and no other operator.
    `contains`: a string has `value` as a substring, or an array has an element equal to it.
    Raises `ValueError` without a `field`.
    """
    _require("field", field, "filter")
    kept = [record for record in records if compare(record.get(field, MISSING), operator, value)]
    return {"action": "filter", "read": len(records), "count": len(kept), "records": kept}


def aggregate(
    records: Sequence[Record], function: Function, field: str, group_by: str = ""
) -> Result:
    """Return one value per group of records with equal `group_by`, by first appearance.

    Without `group_by` all records are one group, even none; the group of the records that lack
    the field comes without `group`. `count` counts records, or with a `field` those where it is
    present and not null. The other functions need a `field` and take its numbers alone: `used`
    says how many. The sum of none is 0; mean, min and max of none are null. Raises `ValueError`
    without a needed `field`, and for a sum that is no finite number or 64-bit integer.
    """
    if function != "count":
        _require("field", field, f"aggregate with {function!r}")
    groups = _grouped(records, group_by) if group_by else [({}, records)]
    values = [label | _aggregate(members, function, field) for label, members in groups]
    return {"action": "aggregate", "read": len(records), "count": len(values), "groups": values}


def deduplicate(records: Sequence[Record], keys: Sequence[str] = ()) -> Result:
    """Return the first of the records that are equal in all `keys`; no keys: equal as a whole.

    A missing key equals only a missing key.
    """
    first: dict[Hashable, Record] = {}
    for record in records:
        parts = tuple(_identity(record.get(key, MISSING)) for key in keys)
        first.setdefault(parts or _identity(record), record)
    kept = list(first.values())
    return {"action": "deduplicate", "read": len(records), "count": len(kept), "records": kept}


def compare(left: object, operator: Operator, right: object) -> bool:
    """Return whether `left operator right` holds; see the top of this module."""
    if operator in ("eq", "ne"):
        return (_identity(left) == _identity(right)) is (operator == "eq")
    if operator == "contains":
        return _contains(left, right)
    comparable = {_type(left), _type(right)} in ({"number"}, {"string"})
    return comparable and ORDER[operator](left, right)


def total(numbers: Sequence[Number]) -> Number:
    """Return the sum: exact for integers, else rounded once (`math.fsum`).

    Raises `ValueError` for a sum that is no finite number or 64-bit integer.
    """
    result = _sum(numbers)
    if isinstance(result, int) and result not in INT64:
        raise ValueError(TOO_LARGE)
    return result


def mean(numbers: Sequence[Number]) -> float | None:
    """Return the arithmetic mean, from the exact sum; `None` of no numbers.

    Raises `ValueError` for a sum that is no finite number.
    """
    return _sum(numbers) / len(numbers) if numbers else None


def _sum(numbers: Sequence[Number]) -> Number:
    if all(isinstance(number, int) for number in numbers):
        return sum(numbers)
    try:
        return math.fsum(numbers)
    except OverflowError:
        raise ValueError(TOO_LARGE) from None


def _describe(records: Sequence[Record], name: str) -> Result:
    values = [record[name] for record in records if name in record]
    numbers = _numbers(values)
    return {
        "present": len(values),
        "missing": len(records) - len(values),
        "types": dict(Counter(map(_type, values))),
        "distinct": len(set(map(_identity, values))),
        "min": min(numbers, default=None),
        "max": max(numbers, default=None),
        "mean": mean(numbers),
    }


def _aggregate(records: Sequence[Record], function: Function, field: str) -> Result:
    if function == "count":
        count = sum(record.get(field) is not None for record in records) if field else len(records)
        return {"records": len(records), "value": count}
    numbers = _numbers(record.get(field) for record in records)
    value = REDUCERS[function](numbers)
    return {"records": len(records), "used": len(numbers), "value": value}


def _grouped(records: Sequence[Record], name: str) -> Iterable[tuple[Result, Sequence[Record]]]:
    groups: dict[Hashable, tuple[Result, list[Record]]] = {}
    for record in records:
        label = {"group": record[name]} if name in record else {}
        groups.setdefault(_identity(record.get(name, MISSING)), (label, []))[1].append(record)
    return groups.values()


def _contains(left: object, right: object) -> bool:
    if isinstance(left, str):
        return isinstance(right, str) and right in left
    return isinstance(left, list) and any(_identity(item) == _identity(right) for item in left)


def _identity(value: object) -> Hashable:
    """Return what is equal for equal JSON values, and only then: in Python, True equals 1."""
    match value:
        case bool():
            return ("boolean", value)
        case list():
            return ("array", *map(_identity, value))
        case dict():
            return ("object", frozenset((key, _identity(item)) for key, item in value.items()))
    return value


def _type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
    return "missing"


def _numbers(values: Iterable[object]) -> list[Number]:
    return [
        value for value in values if isinstance(value, int | float) and not isinstance(value, bool)
    ]


REDUCERS: dict[Function, Callable[[Sequence[Number]], Number | None]] = {
    "sum": total,
    "mean": mean,
    "min": partial(min, default=None),
    "max": partial(max, default=None),
}


def _require(name: str, value: str, action: str) -> None:
    if not value:
        raise ValueError(f"{name}: {action} needs the name of a field.")
