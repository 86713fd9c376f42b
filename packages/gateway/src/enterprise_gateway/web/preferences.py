"""What a client prefers, by its `Prefer` header (RFC 7240): an answer before everything is done, and how long it waits."""

from dataclasses import dataclass

__all__ = ["PREFER_HEADER", "RESPOND_ASYNC", "Preferences", "preferences_of"]

PREFER_HEADER = "Prefer"
RESPOND_ASYNC = "respond-async"

_MOST_DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """Those that mean something to a start."""

    respond_async: bool = False
    """Whether the client wants to be answered before the kernel is up."""
    wait: float = 0.0
    """Seconds that it waits before."""


def preferences_of(header: str) -> Preferences:
    """Return what a header says; what isn't known here is ignored, as the standard wants it, and so is a value that is none."""
    respond_async, wait = False, None
    for preference in header.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        match name.strip().lower():
            case "respond-async":
                respond_async = True
            case "wait" if wait is None:
                # The first one counts where it is said twice.
                wait = _seconds(value.strip().strip('"'))
    return Preferences(respond_async=respond_async, wait=wait or 0.0)


def _seconds(text: str) -> float | None:
    if not (text.isascii() and text.isdecimal()):
        return None
    # However long somebody would wait, a start has a deadline.
    return float(text[:_MOST_DIGITS] if len(text) <= _MOST_DIGITS else "9" * _MOST_DIGITS)
