"""Who may open a connection to the supervisor: whoever has the key of the kernel's gateways, and nobody else.

libzmq asks by its authentication protocol (ZAP, https://rfc.zeromq.org/spec/27/) for each connection, before a message of it
is read.
"""

from typing import Any

import zmq
from zmq.utils import z85

from kernel_launchers.supervisor.loop import READ, Loop

__all__ = ["Admission"]

_ENDPOINT = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
_FIELDS = 7


class Admission:
    """Answers libzmq's questions in the supervisor's loop.

    Parameters
    ----------
    context
        Whose sockets ask.
    allowed
        The only public key that is let in, as text.
    """

    def __init__(self, *, context: "zmq.Context[Any]", loop: Loop, allowed: str) -> None:
        self._allowed = z85.decode(allowed.encode())
        self._loop = loop
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(_ENDPOINT)
        loop.watch(self._socket, READ, self._answer)

    def _answer(self) -> None:
        while True:
            try:
                version, request, *rest = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # domain, address, identity, mechanism, and what the mechanism knows of the peer
            known = len(rest) == _FIELDS - 2 and version == _VERSION and rest[3:] == [b"CURVE", self._allowed]
            status = [b"200", b"OK"] if known else [b"400", b"not the key of this kernel's gateways"]
            self._socket.send_multipart([_VERSION, request, *status, b"", b""])

    def close(self) -> None:
        """Let nobody in any more."""
        self._loop.forget(self._socket)
        self._socket.close()
