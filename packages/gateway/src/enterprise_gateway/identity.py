"""Who acts: the user behind a request, as far as the gateway can know."""

from dataclasses import dataclass

__all__ = ["ANONYMOUS", "Identity"]


@dataclass(frozen=True)
class Identity:
    """The user that the gateway itself established; not what a request's body claims."""

    user: str | None
    """Name of the user that the token belongs to; `None` where the token is shared or none is needed."""

    def may_use(self, owner: str) -> bool:
        """Tell whether this caller may see and use what belongs to `owner`."""
        return self.user is None or self.user == owner


ANONYMOUS = Identity(None)
