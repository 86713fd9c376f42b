"""The sockets to one kernel: what arrives is checked, what is sent is signed."""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, Protocol

import zmq
from jupyter_client.session import Session

from enterprise_gateway.links import adaptation
from enterprise_gateway.links.channel_socket import ChannelSocket
from enterprise_gateway.links.complaints import Complaints
from enterprise_gateway.links.messages import KernelMessage, MalformedMessage
from enterprise_gateway.links.requests import HeldMessage, KernelDoesNotRead
from enterprise_gateway.links.signing import InvalidSignature, open_signed, sign
from enterprise_gateway.links.sockets import ChannelName, KernelSockets

__all__ = ["KernelChannels", "LinkDropReason", "LinkMetrics"]

LinkDropReason = Literal["malformed_from_kernel", "invalid_signature", "log_full", "kernel_gone", "too_large_for_client"]

# libzmq bounds its queues by the number of messages, whatever their size, and ipykernel joins a loop's output to messages
# of several MB. Few messages in libzmq's queue leave the rest in TCP's buffers, which are bounded in bytes, and in the
# kernel's own queue of 1,000 messages; the kernel drops output only when that is full as well. A single one would be
# fewer still, but then libzmq's thread waits after each message to be woken, and a cell's output is several.
_RECEIVE_HIGH_WATER = 8
_SEND_HIGH_WATER = 64

_WELCOME_PREFIX = b"enterprise-gateway.welcome."


class LinkMetrics(Protocol):
    """Counts what happens on all links."""

    def log_bytes(self, change: int) -> None:
        """Add to the number of bytes that are kept in logs."""

    def dropped(self, reason: LinkDropReason) -> None:
        """Count a message that was not passed on."""


class KernelChannels:
    """Connects to one kernel wherever it is, with one identity on all channels.

    Parameters
    ----------
    kernel_id
        The kernel, for what is logged.
    context
        ZeroMQ context of the sockets.
    session
        Returns who signs and checks messages with the kernel's key.
    metrics
        Who counts.
    received
        Told of each message that is the kernel's.
    """

    def __init__(
        self,
        *,
        kernel_id: str,
        context: zmq.Context[zmq.Socket[bytes]],
        session: Callable[[], Session],
        metrics: LinkMetrics,
        received: Callable[[KernelMessage], None],
    ) -> None:
        self._session = session
        self._metrics = metrics
        self._pass_on = received
        self._addresses = KernelSockets(context=context)
        self._sockets: dict[ChannelName, ChannelSocket] = {}
        self._identity = b""
        self._welcome = b""
        self._reading = True
        self.complain = Complaints(kernel_id)
        """Told what is wrong with the kernel's messages."""
        self.heard = asyncio.Event()
        """Set as soon as output arrives from the kernel as it runs now."""

    # ------------------------------------------------------------------------------------------------------- connecting

    def connect(self, info: Mapping[str, Any]) -> None:
        """Reach the kernel where its connection information says.

        Raises
        ------
        Unavailable
            This process can't have another connection.
        """
        self.drain()
        self.disconnect()
        self.heard.clear()
        self._addresses.update(info)
        # The kernel's router refuses an identity that is taken, be it by another replica or by a connection that it
        # doesn't know to be lost. And it asks for input on the channel `stdin` whom it knows by its requests on `shell`.
        self._identity = uuid.uuid4().hex.encode()
        self._welcome = _WELCOME_PREFIX + self._identity
        # Before `shell`, whose first answer then says that these have had their time too: a request for input that finds
        # nobody connected is lost, and its cell waits for ever.
        self._open("stdin")
        self._open("iopub")

    def _open(self, channel: ChannelName) -> ChannelSocket:
        socket = self._addresses.open(channel, self._identity)
        # Taken over by connections that exist already.
        socket.rcvhwm, socket.sndhwm = _RECEIVE_HIGH_WATER, _SEND_HIGH_WATER
        if channel == "iopub":
            # A kernel of protocol 5.5 welcomes each new topic. Nobody else has this one, and it stands behind the
            # subscription to everything: its welcome proves that output arrives from then on.
            socket.subscribe(self._welcome)
        opened = self._sockets[channel] = ChannelSocket(socket=socket, received=partial(self._received, channel))
        if not self._reading:
            opened.read(False)
        return opened

    def _opened(self, channel: ChannelName) -> ChannelSocket:
        return self._sockets.get(channel) or self._open(channel)

    def disconnect(self) -> None:
        """Close the sockets."""
        while self._sockets:
            self._sockets.popitem()[1].close()

    @property
    def connected(self) -> bool:
        """Whether there is a kernel to send to."""
        return bool(self._sockets)

    @property
    def curve(self) -> bool:
        """Whether CURVE authenticates the connection, so that signatures from the kernel add nothing."""
        return self._addresses.curve

    @property
    def session(self) -> Session:
        """Signs and checks messages with the kernel's key."""
        return self._session()

    # -------------------------------------------------------------------------------------------------------- receiving

    @property
    def reading(self) -> bool:
        """Whether what the kernel says is read."""
        return self._reading

    def read(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        """Begin or stop to read.

        On all channels: a reply that overtook its output would end a cell whose lines are still to come.
        """
        if wanted != self._reading:
            self._reading = wanted
            for socket in list(self._sockets.values()):
                socket.read(wanted)

    def drain(self) -> None:
        """Take in what has already arrived, reading or not."""
        for socket in list(self._sockets.values()):
            socket.drain()

    def _received(self, channel: ChannelName, frames: list[bytes]) -> None:
        if frames[0].startswith(_WELCOME_PREFIX):
            # Welcomes go to everybody who listens; they mean something to one link and nothing to any client.
            if frames[0] == self._welcome:
                self.heard.set()
            return
        session = self._session()
        try:
            parts = open_signed(frames, session, trusted=self.curve)
            if adaptation.is_needed(session):
                parts = adaptation.from_kernel(parts, session)
            message = KernelMessage(channel, parts)
            _ = message.header, message.parent
        except InvalidSignature:
            self._metrics.dropped("invalid_signature")
            self.complain("A message was dropped that isn't signed with its kernel's key")
            return
        except MalformedMessage as error:
            self._metrics.dropped("malformed_from_kernel")
            self.complain("A message from a kernel was dropped", cause=str(error))
            return
        if channel == "iopub":
            self.heard.set()
        self._pass_on(message)

    # ----------------------------------------------------------------------------------------------------------- sending

    def send(self, message: HeldMessage, *, most_backlog: int) -> None:
        """Send a client's message.

        Raises
        ------
        KernelDoesNotRead
            More than `most_backlog` bytes wait for the kernel already.
        MalformedMessage
            The version of the protocol that the kernel speaks has no such message.
        Unavailable
            This process can't have another connection.
        """
        session, parts = self._session(), message.parts
        if adaptation.is_needed(session):
            parts = adaptation.to_kernel(parts, session)
        socket = self._opened(message.channel)
        if socket.backlog > most_backlog:
            raise KernelDoesNotRead
        socket.send(sign(parts, session))

    def ask(self, kind: str) -> None:
        """Send a request of the gateway's own, whose reply names this session; raises `Unavailable` as `send` does."""
        session = self._session()
        self._opened("shell").send(session.serialize(session.msg(kind)))
