"""One connection to a supervisor, which comes back by itself when it broke."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import zmq
from zmq.utils.monitor import parse_monitor_message

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.launch.supervisor_address import SupervisorAddress
from enterprise_gateway.links.channel_socket import ChannelSocket

__all__ = ["SupervisorConnection"]

_RECONNECT_MILLISECONDS = 20
_RECONNECT_MAX_MILLISECONDS = 500
_HEARTBEAT_MILLISECONDS, _SILENCE_MILLISECONDS = 5_000, 20_000
_LINGER_MILLISECONDS = 500
_MOST_MESSAGES = 1024
_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class SupervisorConnection:
    """Tells when the connection stands, and when it doesn't any more; what was on its way then may be lost.

    Parameters
    ----------
    context
        Of its socket.
    address
        Where the supervisor is.
    received, stands, broke
        Told of each message, when messages can be sent, and when those that were may not have arrived.

    Raises
    ------
    Unavailable
        This process can't have another connection.
    """

    def __init__(
        self,
        *,
        context: zmq.Context[zmq.Socket[bytes]],
        address: SupervisorAddress,
        received: Callable[[list[bytes]], None],
        stands: Callable[[], None],
        broke: Callable[[], None],
    ) -> None:
        self._stands = stands
        self._broke = broke
        self._loop = asyncio.get_running_loop()
        try:
            socket = context.socket(zmq.DEALER)
        except zmq.ZMQError as error:
            raise Unavailable(f"The gateway can't open another connection to a kernel: {error.strerror}.") from error
        # What a supervisor sends ahead of what was acknowledged is bounded in bytes, by itself. One that a hostile kernel
        # has taken over may not do so: beyond this it waits.
        socket.rcvhwm, socket.sndhwm = _MOST_MESSAGES, 0
        socket.reconnect_ivl, socket.reconnect_ivl_max = _RECONNECT_MILLISECONDS, _RECONNECT_MAX_MILLISECONDS
        socket.heartbeat_ivl, socket.heartbeat_timeout = _HEARTBEAT_MILLISECONDS, _SILENCE_MILLISECONDS
        socket.curve_serverkey = address.supervisor_publickey.encode()
        socket.curve_publickey = address.gateway_publickey.encode()
        socket.curve_secretkey = address.gateway_secretkey.encode()
        host = address.ip
        if ":" in host:
            socket.ipv6, host = True, f"[{host}]"
        try:
            self._monitor: zmq.Socket[bytes] = socket.get_monitor_socket(_EVENTS)
            socket.connect(f"tcp://{host}:{address.port}")
        except zmq.ZMQError as error:
            socket.close()
            raise Unavailable(f"The gateway can't open another connection to a kernel: {error.strerror}.") from error
        self._raw = socket
        self._socket = ChannelSocket(socket=socket, received=received)
        self._loop.add_reader(self._monitor.FD, self._look)
        # The descriptor tells of changes; one that came before it was watched is none.
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        while not self._monitor.closed:
            try:
                frames = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            event = parse_monitor_message(frames)["event"]
            (self._stands if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else self._broke)()

    def send(self, frames: Sequence[bytes]) -> None:
        """Send a message."""
        self._socket.send(frames)

    def drain(self) -> None:
        """Take in what has already arrived."""
        self._socket.drain()

    def close(self) -> None:
        """Close the connection; what was just said, such as how far sessions were delivered, still goes out."""
        if self._monitor.closed:
            return
        self._loop.remove_reader(self._monitor.FD)
        with suppress(zmq.ZMQError):  # the process ends, and its context with it
            self._raw.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger_milliseconds=_LINGER_MILLISECONDS)
