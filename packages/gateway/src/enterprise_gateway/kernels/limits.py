"""How many kernels there may be: in all, and for one user."""

from collections.abc import Iterable
from dataclasses import dataclass

from enterprise_gateway.errors import LimitReached

__all__ = ["KernelLimits", "check_limits"]


@dataclass(frozen=True, kw_only=True)
class KernelLimits:
    """The administrator's numbers."""

    total: int | None
    """Kernels at one time; `None` for any number."""
    per_user: int
    """Kernels of one user at one time; negative for any number."""

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.total is not None or self.per_user >= 0


def check_limits(owners: Iterable[str], user: str, limits: KernelLimits) -> None:
    """Return when one more kernel of `user` is within the limits.

    Parameters
    ----------
    owners
        The owner of every kernel that runs or starts, once for each kernel.

    Raises
    ------
    LimitReached
        It isn't; the text says which limit.
    """
    owned_by = list(owners)
    if limits.total is not None and len(owned_by) >= limits.total:
        raise LimitReached(f"No more kernels can be started: {len(owned_by)} of at most {limits.total} exist already.")
    own = owned_by.count(user)
    if 0 <= limits.per_user <= own:
        raise LimitReached(f"User '{user}' has {own} kernels of at most {limits.per_user}; shut one down to start another.")
