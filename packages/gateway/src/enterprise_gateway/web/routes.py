"""What is served where: a route's path, its handler, and what its variable parts mean."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tornado.web import RequestHandler

from enterprise_gateway.web.operations import Operation

__all__ = ["Route"]

_VARIABLE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One path and who answers there.

    A variable part (`{name}`) matches up to the next slash; the last one of a path that ends with `{path}` matches the
    rest. A slash at the end changes nothing.
    """

    path: str
    handler: type[RequestHandler]
    services: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Name of a variable part to its description."""
    described: bool = True
    """Whether it stands in the OpenAPI document."""

    @property
    def operations(self) -> Mapping[str, Operation]:
        """What the handler declares, method by method; nothing for a websocket."""
        operations: Mapping[str, Operation] = getattr(self.handler, "operations", {})
        return operations

    @property
    def name(self) -> str:
        """A name made of the path, for operation ids and metrics."""
        return "".join(part[:1].upper() + part[1:] for part in re.split(r"\W+", self.path))

    def pattern(self, base_url: str) -> str:
        """Return the regular expression of this route below a base URL."""
        parts = _VARIABLE.split(self.path.removeprefix("/"))
        literals, names = parts[::2], parts[1::2]
        matched = re.escape(base_url) + re.escape(literals[0])
        for name, literal in zip(names, literals[1:], strict=True):
            matched += (f"(?P<{name}>.+?)" if name == "path" else f"(?P<{name}>[^/]+)") + re.escape(literal)
        return matched + "/?"
