"""From a request's target to the kernel's, as text: nothing is decoded, so nothing can be decoded twice."""

from typing import NamedTuple
from urllib.parse import unquote_plus

__all__ = ["KernelTarget", "host_and_port", "kernel_target", "page_prefix", "proxy_prefix", "without_token"]

_TOKEN = "token"  # noqa: S105  the name of the parameter


def host_and_port(host: str, port: int) -> str:
    """Return an address as a Host header has it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def proxy_prefix(base_url: str, kernel_id: str, port: int) -> str:
    """Return the path under which programs reach a port, without a slash at its end."""
    return f"{base_url}api/kernels/{kernel_id}/proxy/{port}"


def page_prefix(base_url: str, kernel_id: str, port: int, ticket: str) -> str:
    """Return the path under which a browser shows a port's pages, without a slash at its end.

    Its words are not those by which Spark's pages find out about a proxy of another kind: `proxy`, `history`.
    """
    return f"{base_url}api/kernels/{kernel_id}/pages/{port}/{ticket}"


class KernelTarget(NamedTuple):
    """What a kernel is asked for."""

    text: str
    """Path and query, without the gateway's token."""
    lacks_slash: bool
    """Whether it is the root, named without a slash, so that a browser would look for what its page names in the folder above."""


def kernel_target(uri: str, *, base_url: str, skipped: int) -> KernelTarget:
    """Return what the kernel is asked for.

    Parameters
    ----------
    uri
        The request's own target.
    skipped
        How many segments below the base URL are the gateway's.
    """
    path, _, query = uri.partition("?")
    segments = path.removeprefix(base_url).split("/", skipped)
    lacks_slash = len(segments) <= skipped
    query = without_token(query)
    return KernelTarget(("/" if lacks_slash else f"/{segments[skipped]}") + (f"?{query}" if query else ""), lacks_slash)


def without_token(query: str) -> str:
    """Return a query without the parameter that lets a client in; the others stay as they are."""
    return "&".join(part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != _TOKEN)
