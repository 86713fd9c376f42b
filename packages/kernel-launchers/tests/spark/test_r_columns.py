"""What R gets of Spark's rows."""

import datetime as dt
from decimal import Decimal

import pytest

from kernel_launchers.spark.r_columns import columns

_NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("spark_type", "value", "kind", "told"),
    [
        ("int", 7, "integer", 7),
        ("bigint", 2**40, "double", float(2**40)),
        ("double", 0.5, "double", 0.5),
        ("decimal(10,2)", Decimal("12.5"), "double", 12.5),
        ("boolean", True, "logical", True),
        ("string", "é", "character", "é"),
        ("date", dt.date(1970, 1, 11), "Date", 10.0),
        ("timestamp", _NOON, "POSIXct", _NOON.timestamp()),
        ("array<int>", [1, 2], "character", "[1, 2]"),
    ],
)
def test_a_column_is_a_vector_of_rs_own_kind(spark_type, value, kind, told):
    (column,) = columns(["a"], [spark_type], [(value,)])
    assert (column.name, column.kind, column.values, column.missing) == ("a", kind, [told], [])


def test_what_is_missing_is_named_by_its_place_counted_from_one():
    (column,) = columns(["a"], ["string"], [(None,), ("x",), (None,)])
    assert (column.values, column.missing) == (["", "x", ""], [1, 3])


def test_columns_keep_their_order_and_their_names_even_without_rows():
    assert [(column.name, column.values) for column in columns(["b", "a"], ["int", "int"], [])] == [("b", []), ("a", [])]
