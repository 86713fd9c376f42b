"""Whole numbers that R has no vector for: doubles, and not what is left of them in 32 bits, as reticulate has it."""

import functools
import importlib
from typing import Any, Callable

__all__ = ["as_r_has_it", "return_numbers_as_r_has_them"]

# The lowest one of 32 bits is R's NA.
_LARGEST = 2**31 - 1
_OF_DATA_FRAMES = ("count",)
_OF_RDDS = (
    "aggregate",
    "collect",
    "count",
    "first",
    "fold",
    "max",
    "min",
    "reduce",
    "sum",
    "take",
    "top",
    "treeAggregate",
    "treeReduce",
)


def as_r_has_it(value: Any) -> Any:  # noqa: ANN401  whatever a row holds
    """Return a value with every whole number of more than 32 bits in it as a double, also within lists and maps."""
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        return float(value)
    if type(value) in (list, tuple):
        return type(value)(as_r_has_it(item) for item in value)
    if type(value) is dict:
        return {key: as_r_has_it(item) for key, item in value.items()}
    return value


def return_numbers_as_r_has_them() -> None:
    """Have pyspark's rows and the results of its actions hold such doubles, in this process."""
    types: Any = importlib.import_module("pyspark.sql.types")
    make = types._create_row  # noqa: SLF001  where every row is made that comes from Java
    types._create_row = lambda fields, values: make(fields, [as_r_has_it(value) for value in values])  # noqa: SLF001  as above
    classes = (
        (importlib.import_module("pyspark.sql.classic.dataframe").DataFrame, _OF_DATA_FRAMES),
        (importlib.import_module("pyspark.core.rdd").RDD, _OF_RDDS),
    )
    for owner, names in classes:
        for name in names:
            setattr(owner, name, _converting(getattr(owner, name)))


def _converting(action: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(action)
    def converted(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401  pyspark's
        return as_r_has_it(action(*arguments, **named))

    return converted
