"""How a route declares what it does: the OpenAPI document is made of these declarations and of nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["HeaderParameter", "Operation", "QueryParameter"]


@dataclass(frozen=True, kw_only=True)
class QueryParameter:
    """One parameter after the question mark; none is ever required."""

    name: str
    description: str


@dataclass(frozen=True, kw_only=True)
class HeaderParameter:
    """One header of a request that changes its answer; none is ever required."""

    name: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What one method of one route does."""

    summary: str
    responses: Mapping[int, type | None]
    """Status to the type of the JSON answer; `None` where there is no JSON."""
    request: type | None = None
    """Type of the JSON body; `None` where a body is ignored."""
    query: tuple[QueryParameter, ...] = ()
    headers: tuple[HeaderParameter, ...] = ()
    tag: str = "gateway"
    public: bool = field(default=False)
    """Whether no token is needed."""
    content_type: str = "application/json"
    other_content_types: tuple[str, ...] = ()
    """What a client may have instead, by its Accept header or a parameter."""
