"""How many pods of a kernelspec wait for a start, as its config or the gateway's settings say."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from enterprise_gateway.errors import LaunchFailed

__all__ = ["NO_POOL", "PoolSize", "read_pool_config", "read_pool_sizes"]

_WRITTEN = re.compile(r"([^=]+)=(\d+)(?:\.\.(\d+))?")
_MOST = 1000


class PoolSize(NamedTuple):
    """How many there are at least, and at most where many are claimed."""

    minimum: int
    maximum: int


NO_POOL = PoolSize(0, 0)


def read_pool_sizes(written: Sequence[str]) -> dict[str, PoolSize]:
    """Return the sizes that settings name, by kernelspec in lower case: `NAME=SIZE`, or `NAME=MINIMUM..MAXIMUM`.

    Raises
    ------
    ValueError
        One can't be read.
    """
    sizes = {}
    for each in written:
        match = _WRITTEN.fullmatch(each.strip())
        size = None if match is None else _size(match.group(2), match.group(3))
        if match is None or size is None:
            raise ValueError(f"warm_pools: '{each}' is not NAME=SIZE or NAME=MINIMUM..MAXIMUM with at most {_MOST} pods.")
        sizes[match.group(1).strip().lower()] = size
    return sizes


def _size(minimum: str, maximum: str | None) -> PoolSize | None:
    size = PoolSize(int(minimum), int(minimum if maximum is None else maximum))
    return size if size.minimum <= size.maximum <= _MOST else None


def read_pool_config(config: Mapping[str, Any]) -> PoolSize:
    """Return the size that a kernelspec's config says: `size`, or `minimum` and `maximum`; nothing for no pool.

    Raises
    ------
    LaunchFailed
        It says something else.
    """
    size = config.get("size", 0)
    minimum = config.get("minimum", size)
    found = PoolSize(minimum, config.get("maximum", max(size, minimum) if _is_count(size) and _is_count(minimum) else size))
    unknown = config.keys() - {"size", "minimum", "maximum"}
    if unknown or not all(map(_is_count, found)) or not found.minimum <= found.maximum <= _MOST:
        raise LaunchFailed(
            f"The kernelspec's config can't be used: warm_pool takes size, or minimum and maximum, whole numbers up to {_MOST}."
        )
    return found


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
