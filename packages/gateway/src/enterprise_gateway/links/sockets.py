"""ZeroMQ sockets to a kernel, from its connection information."""

from collections.abc import Mapping
from typing import Any, Literal

import zmq

from enterprise_gateway.errors import Unavailable

__all__ = ["CHANNELS", "ChannelName", "KernelSockets"]

ChannelName = Literal["shell", "control", "stdin", "iopub"]
CHANNELS: tuple[ChannelName, ...] = ("shell", "control", "stdin", "iopub")

_TYPES = {"shell": zmq.DEALER, "control": zmq.DEALER, "stdin": zmq.DEALER, "iopub": zmq.SUB}

# libzmq waits this long after a refused connection. A kernel binds its ports half a second after it was started, and a
# new connection should see that at once; the default of 100 ms would add 50 ms to every start.
_RECONNECT_MILLISECONDS = 20
_RECONNECT_MAX_MILLISECONDS = 500


class KernelSockets:
    """Opens sockets to one kernel; knows nothing until `update` told it where the kernel is.

    Parameters
    ----------
    context
        The context of all sockets that are opened.
    """

    def __init__(self, *, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._context = context
        self._info: dict[str, Any] = {}

    @property
    def curve(self) -> bool:
        """Tell whether connections are encrypted and authenticated by CURVE."""
        return bool(self._info.get("curve_publickey"))

    def update(self, info: Mapping[str, Any]) -> None:
        """Take over connection information as a connection file holds it."""
        self._info = dict(info)

    def open(self, channel: ChannelName, identity: bytes) -> zmq.Socket[bytes]:
        """Return a new connected socket; for iopub one that is subscribed to everything.

        Raises
        ------
        Unavailable
            This process can't have one more.
        """
        try:
            socket = self._context.socket(_TYPES[channel])
        except zmq.ZMQError as error:
            raise Unavailable(f"The gateway can't open another connection to a kernel: {error.strerror}.") from error
        # Nothing that still waits to be sent may hold up the process when the socket is closed.
        socket.linger = 0
        socket.reconnect_ivl = _RECONNECT_MILLISECONDS
        socket.reconnect_ivl_max = _RECONNECT_MAX_MILLISECONDS
        socket.identity = identity
        if self.curve:
            public, secret = (_bytes(self._info[key]) for key in ("curve_publickey", "curve_secretkey"))
            socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = public, public, secret
        if channel == "iopub":
            socket.subscribe(b"")
        socket.connect(self._address(channel))
        return socket

    def _address(self, channel: ChannelName) -> str:
        transport, ip, port = self._info["transport"], self._info["ip"], self._info[f"{channel}_port"]
        return f"ipc://{ip}-{port}" if transport == "ipc" else f"{transport}://{_host(ip)}:{port}"


def _host(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def _bytes(value: str | bytes) -> bytes:
    return value.encode("ascii") if isinstance(value, str) else value
