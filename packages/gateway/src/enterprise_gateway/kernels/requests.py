"""What a client asks for when it wants a kernel, and what the gateway makes of it."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from enterprise_gateway.errors import BadRequest, Forbidden
from enterprise_gateway.identity import Identity

__all__ = ["StartRequest", "owner_of", "requested_kernel_id"]

_LONGEST_USER_NAME = 256
_RANDOM_UUID_VERSION = 4


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """One request for a kernel."""

    kernel_name: str | None
    """Name of a kernelspec; `None` for the default one."""
    env: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those request headers that the administrator lets through to provisioners."""


def owner_of(env: Mapping[str, str], identity: Identity, *, default: str) -> str:
    """Return the user that a kernel belongs to.

    Parameters
    ----------
    default
        Who owns kernels that nobody is named for.

    Raises
    ------
    BadRequest
        KERNEL_USERNAME can't be a user's name.
    Forbidden
        The token belongs to one user, KERNEL_USERNAME names another.
    """
    claimed = env.get("KERNEL_USERNAME")
    if claimed is not None and not (claimed.strip() and claimed.isprintable() and len(claimed) <= _LONGEST_USER_NAME):
        raise BadRequest(f"KERNEL_USERNAME must be a name of 1 to {_LONGEST_USER_NAME} characters that can be shown.")
    if identity.user is None:
        return claimed or default
    if claimed not in (None, identity.user):
        raise Forbidden("KERNEL_USERNAME names another user than the one that the token belongs to.")
    return identity.user


def requested_kernel_id(env: Mapping[str, str]) -> str | None:
    """Return the id that a client chose for its kernel, in its usual form, or `None` where it left that to the gateway.

    Raises
    ------
    BadRequest
        KERNEL_ID is no UUID of version 4.
    """
    raw = env.get("KERNEL_ID")
    if raw is None:
        return None
    try:
        chosen = uuid.UUID(raw)
    except ValueError:
        chosen = None
    # uuid.UUID also takes braces, a urn: prefix and no hyphens at all: other programs would not find such a kernel.
    if chosen is None or chosen.version != _RANDOM_UUID_VERSION or str(chosen) != raw.lower():
        raise BadRequest("KERNEL_ID must be a UUID of version 4, as in 01234567-89ab-4cde-8f01-23456789abcd.")
    return str(chosen)
