"""In what kernels differ that speak the same protocol, as far as who stands between them and their clients has to know."""

from typing import NamedTuple, Tuple

__all__ = ["KernelTraits", "foreign_traits", "traits_of"]


class KernelTraits(NamedTuple):
    """What a kernel can."""

    unix_sockets: bool = False
    """Whether it can listen on sockets of the file system; a port of the loopback interface every kernel can listen on."""
    serves_control: bool = True
    """Whether it answers what comes on its control channel; IRkernel heeds an order to end there, and nothing else."""
    interrupted_by_message: bool = False
    """Whether it wants to be interrupted by a message, and not by a signal."""
    answered_for: Tuple[str, ...] = ()
    """Requests on its control channel that are answered in its place, though it answers others."""


def traits_of(language: str, *, interrupt_mode: str = "signal") -> KernelTraits:
    """Return what is known of any kernel of a language."""
    serves_control = language.lower() != "r"
    return KernelTraits(serves_control=serves_control, interrupted_by_message=serves_control and interrupt_mode == "message")


def foreign_traits(language: str, *, interrupt_mode: str = "signal") -> KernelTraits:
    """Return what is known of a kernel that isn't one of this package's, by its kernelspec.

    Only ipykernel knows usage requests. A kernel that asks for signals may answer an interrupt request and do nothing (as xeus
    does), so such a request becomes the signal, like every other interrupt.
    """
    traits = traits_of(language, interrupt_mode=interrupt_mode)
    by_signal = () if traits.interrupted_by_message else ("interrupt_request",)
    return traits._replace(answered_for=("usage_request", *by_signal))
