"""Where the supervisor of a kernel listens, and the keys by which it and a gateway know each other."""

from typing import NamedTuple

__all__ = ["SupervisorAddress"]


class SupervisorAddress(NamedTuple):
    """All that a connection to a supervisor needs."""

    ip: str
    port: int
    supervisor_publickey: str
    gateway_publickey: str
    gateway_secretkey: str
