"""What a client asks for when it wants a kernel, as its request says it, and whose the kernel is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from enterprise_gateway.errors import Forbidden
from enterprise_gateway.identity import Identity

__all__ = ["StartRequest", "owner_of"]


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """One request for a kernel, unread."""

    kernel_name: str | None
    """Name of a kernelspec; `None` for the default one."""
    env: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those request headers that the administrator lets through to provisioners."""
    respond_async: bool = False
    """Whether the client wants its answer before the kernel is up, whatever the administrator says."""
    wait: float = 0.0
    """Seconds that it waits all the same."""

    def patience(self, *, pending_starts: bool) -> float | None:
        """Return the seconds to wait for the kernel before its client is answered; `None` for as long as the start takes.

        Parameters
        ----------
        pending_starts
            Whether clients are answered early that say nothing of it.
        """
        return self.wait if self.respond_async or pending_starts else None


def owner_of(claimed: str | None, identity: Identity, *, default: str) -> str:
    """Return the user that a kernel belongs to.

    Parameters
    ----------
    claimed
        Who KERNEL_USERNAME names.
    default
        Who owns kernels that nobody is named for.

    Raises
    ------
    Forbidden
        The token belongs to one user, KERNEL_USERNAME names another.
    """
    if identity.user is None:
        return claimed or default
    if claimed not in (None, identity.user):
        raise Forbidden("KERNEL_USERNAME names another user than the one that the token belongs to.")
    return identity.user
