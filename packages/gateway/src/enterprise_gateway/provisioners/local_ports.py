"""Ports for kernels of this machine, so that no other program takes one between its choice and the kernel's start.

A port that was found free by binding it and letting go is, on most systems, one of the range that outgoing connections
take theirs from; under load one of them does, and the kernel fails with "Address already in use". So ports are chosen
outside of that range, and none is given to two kernels.
"""

import random
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from enterprise_gateway.errors import Unavailable

__all__ = ["LocalPorts", "ephemeral_range"]

_MINIMUM_SIZE = 1000
_LOWEST, _HIGHEST = 1024, 65535
# Below it lie the ports that other services are usually given.
_LOWEST_BY_DEFAULT = 10_000
_LINUX_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
# What IANA reserves for outgoing connections, where the system doesn't say.
_IANA_RANGE = range(49152, 65536)


def ephemeral_range() -> range:
    """Return the ports that this system gives to outgoing connections."""
    try:
        lowest, highest = _LINUX_RANGE.read_text().split()
    except OSError:
        return _IANA_RANGE
    return range(int(lowest), int(highest) + 1)


class LocalPorts:
    """Hands out ports, each to one kernel at a time.

    Parameters
    ----------
    text
        `lowest..highest`, with a thousand ports or more between them; `0..0` leaves the choice to this class.
    ephemeral
        The ports of outgoing connections, which are not used unless `text` names them.
    is_free
        Tells whether nobody listens on a port.

    Raises
    ------
    ValueError
        `text` isn't a range of that kind.
    """

    def __init__(self, text: str, *, ephemeral: range, is_free: Callable[[int], bool] | None = None) -> None:
        chosen = _parsed(text)
        usual = [port for port in range(_LOWEST_BY_DEFAULT, _HIGHEST + 1) if port not in ephemeral]
        # A system may give nearly all ports to outgoing connections; then some of those have to do.
        self._ports = chosen or (usual if len(usual) >= _MINIMUM_SIZE else range(_LOWEST_BY_DEFAULT, _HIGHEST + 1))
        self._is_free = is_free or _is_free
        self._taken: set[int] = set()

    def take(self, count: int) -> list[int]:
        """Return different free ports; they stay the caller's until they are given back.

        Raises
        ------
        Unavailable
            There aren't as many.
        """
        found: list[int] = []
        for port in random.sample(self._ports, len(self._ports)):
            if port not in self._taken and self._is_free(port):
                found.append(port)
                if len(found) == count:
                    self._taken.update(found)
                    return found
        raise Unavailable(
            "No port that kernels may use is free on the gateway's machine. Try again when other kernels have ended."
        )

    def give_back(self, ports: Iterable[int]) -> None:
        """Let other kernels have these ports."""
        self._taken.difference_update(ports)


def _parsed(text: str) -> range | None:
    lowest, separator, highest = text.partition("..")
    if not (separator and lowest.isdecimal() and highest.isdecimal()):
        raise ValueError("port_range: write lowest..highest, as in 40000..50000")
    first, last = int(lowest), int(highest)
    if (first, last) == (0, 0):
        return None
    if not (first >= _LOWEST and last <= _HIGHEST):
        raise ValueError(f"port_range: ports must lie between {_LOWEST} and {_HIGHEST}")
    if last - first < _MINIMUM_SIZE:
        raise ValueError(f"port_range: it must hold at least {_MINIMUM_SIZE} ports")
    return range(first, last + 1)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
