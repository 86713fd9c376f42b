"""Rows of Spark as the columns of an R data frame."""

import datetime as dt
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Sequence, SupportsFloat, Tuple

__all__ = ["Column", "columns"]

_EPOCH = dt.date(1970, 1, 1)


class Column(NamedTuple):
    """One column: R's kind of vector, its values, and the places, counted from 1, that have none."""

    name: str
    kind: str
    values: List[Any]
    missing: List[int]


def _days(value: dt.date) -> float:
    return float((value - _EPOCH).days)


def _number(value: SupportsFloat) -> float:
    return float(value)


# Spark's name of a type, R's kind of vector, and how a value becomes one of it. R has no whole numbers of 64 bits.
_KINDS: "Dict[str, Tuple[str, Callable[[Any], Any], Any]]" = {
    "boolean": ("logical", bool, False),
    "tinyint": ("integer", int, 0),
    "smallint": ("integer", int, 0),
    "int": ("integer", int, 0),
    "bigint": ("double", float, 0.0),
    "float": ("double", float, 0.0),
    "double": ("double", float, 0.0),
    "decimal": ("double", _number, 0.0),
    "date": ("Date", _days, 0.0),
    "timestamp": ("POSIXct", dt.datetime.timestamp, 0.0),
    "timestamp_ntz": ("POSIXct", dt.datetime.timestamp, 0.0),
    "string": ("character", str, ""),
}
_OTHER: "Tuple[str, Callable[[Any], Any], Any]" = ("character", str, "")


def columns(names: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[Any]]) -> List[Column]:
    """Return rows column by column; what R has no vector for becomes text.

    Parameters
    ----------
    types
        Of each column, in Spark's words, as `bigint` or `decimal(10,2)`.
    """
    made = []
    all_rows = list(rows)
    for place, (name, spark_type) in enumerate(zip(names, types)):
        kind, convert, nothing = _KINDS.get(spark_type.split("(")[0], _OTHER)
        values = [row[place] for row in all_rows]
        missing = [index for index, value in enumerate(values, start=1) if value is None]
        made.append(Column(name, kind, [nothing if value is None else convert(value) for value in values], missing))
    return made
