"""The gateways that are connected, and how much of the log each of them is to be sent."""

import uuid
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import zmq

from enterprise_gateway_common.connection import SupervisorSettings
from enterprise_gateway_common.message_log import Gap, Position
from enterprise_gateway_common.supervisor_protocol import (
    VERSIONS,
    Entry,
    Kind,
    decode,
    encode,
    encode_entries,
    encode_page,
    position_of,
)
from kernel_launchers.errors import LaunchRefused
from kernel_launchers.link.admission import Admission
from kernel_launchers.link.kernel_log import KernelLog
from kernel_launchers.link.sessions import Sessions
from kernel_launchers.supervisor.loop import READ, Loop, Timer
from kernel_launchers.supervisor.usage import Usage

__all__ = ["Gateways"]

_WINDOW_BYTES = 1 << 20
_LARGEST_PAGE = 1 << 20
_LARGEST_BATCH = 64 << 10
_HEARTBEAT_MILLISECONDS, _SILENCE_MILLISECONDS = 5_000, 20_000
# A gateway that lost a session to another one has so long to say how far it got.
_HAND_OVER_SECONDS = 0.5
_LOOK_SECONDS = 5.0


class _Gateway:
    """One connection of one replica."""

    def __init__(self, identity: bytes, replica: str) -> None:
        self.identity = identity
        self.replica = replica
        self.position: Optional[Position] = None
        """Of the next entry to send; `None` until it follows the log."""
        self.acknowledged = 0
        """Bytes of the log that it has taken in."""


class _HandOver:
    """A session that waits for the word of the gateway that it comes from."""

    def __init__(self, session_id: str, to: bytes, since: bytes, timer: Timer) -> None:
        self.session_id = session_id
        self.to = to
        self.since = since
        self.timer = timer


class Gateways:
    """Listens for gateways, sends them the log, and hands what they ask to whoever does it.

    Parameters
    ----------
    context, loop, settings
        Of the socket, what tells when it can be read, and where and for whom it listens.
    log
        What is sent.
    about
        Returns what is told of the kernel: its state, and what its container uses.
    send
        Takes a client's message: channel, session, frames, and whom to tell when it isn't kept here any more.
    command
        Takes a command: its name and fields. Returns why it can't be done, or nothing.
    taken_in
        Told when a gateway has taken in more.

    Raises
    ------
    LaunchRefused
        The port is taken, as it is where two kernels share a network.
    """

    def __init__(
        self,
        *,
        context: "zmq.Context[Any]",
        loop: Loop,
        settings: SupervisorSettings,
        log: KernelLog,
        about: "Callable[[], Tuple[Dict[str, Any], Usage]]",
        send: "Callable[[str, str, Sequence[bytes], Callable[[], None]], None]",
        command: "Callable[[str, Dict[str, Any]], Optional[str]]",
        taken_in: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._log = log
        self._about = about
        self._send = send
        self._command = command
        self._taken_in = taken_in
        self._sessions = Sessions()
        self._gateways: Dict[bytes, _Gateway] = {}
        self._hand_overs: List[_HandOver] = []
        self.epoch = uuid.uuid4().hex
        self._admission = Admission(context=context, loop=loop, allowed=settings.gateway_publickey)
        socket = self._socket = context.socket(zmq.ROUTER)
        socket.linger = 1000  # milliseconds: the last words of a kernel are worth that
        socket.router_mandatory = True
        # What a gateway hasn't acknowledged is bounded in bytes.
        socket.sndhwm = socket.rcvhwm = 0
        socket.heartbeat_ivl, socket.heartbeat_timeout = _HEARTBEAT_MILLISECONDS, _SILENCE_MILLISECONDS
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = settings.publickey.encode(), settings.secretkey.encode()
        self._bind(settings.port)
        loop.watch(socket, READ, self._read)
        self._look = loop.call_later(_LOOK_SECONDS, self._look_after)

    def _look_after(self) -> None:
        """Say something to gateways that take nothing in: only then it shows that one isn't there any more."""
        self._look = self._loop.call_later(_LOOK_SECONDS, self._look_after)
        for gateway in tuple(self._gateways.values()):
            if gateway.position is not None and gateway.acknowledged < self._log.end.offset:
                self._say(gateway.identity, encode(Kind.STATE, self._about()[0]))

    def _bind(self, port: int) -> None:
        error = ""
        # A machine may have no IPv6.
        for ipv6 in (True, False):
            self._socket.ipv6 = ipv6
            try:
                self._socket.bind(f"tcp://*:{port}")
            except zmq.ZMQError as refusal:
                error = refusal.strerror
            else:
                return
        raise LaunchRefused(f"the supervisor can't listen for gateways on port {port}: {error}")

    def __len__(self) -> int:
        return len(self._gateways)

    def close(self) -> None:
        """Send what waits to be sent, and listen no more."""
        self._look.cancel()
        self._loop.forget(self._socket)
        self._socket.close()
        self._admission.close()

    # -------------------------------------------------------------------------------------------------------- the log

    @property
    def ahead(self) -> int:
        """Bytes of the log that no gateway has taken in yet; 0 where none follows it."""
        following = [one.acknowledged for one in self._gateways.values() if one.position is not None]
        return self._log.end.offset - max(following) if following else 0

    def appended(self) -> None:
        """Send what the log has more, to every gateway that has room for it; then keep the log within its bounds."""
        for gateway in tuple(self._gateways.values()):
            self._pump(gateway)
        # What the one that is ahead wasn't sent yet is bounded by not reading more of the kernel.
        sent = [one.position for one in self._gateways.values() if one.position is not None]
        self._log.enforce(before=max(sent, default=self._log.end))

    def _pump(self, gateway: _Gateway) -> None:
        batch: List[Entry] = []
        size = 0
        while gateway.position is not None and gateway.position.offset - gateway.acknowledged < _WINDOW_BYTES:
            found = self._log.read(gateway.position)
            if found is None:
                break
            item, behind = found
            if isinstance(item, Gap) or size > _LARGEST_BATCH:
                self._send_entries(gateway, batch)
                batch, size = [], 0
            if isinstance(item, Gap):
                self._say(gateway.identity, encode(Kind.SKIPPED, {"to": item.end}))
            else:
                batch.append(item)
                size += behind.offset - gateway.position.offset
            gateway.position = behind
        self._send_entries(gateway, batch)

    def _send_entries(self, gateway: _Gateway, batch: Sequence[Entry]) -> None:
        if batch:
            self._say(gateway.identity, encode_entries(batch))

    def tell_state(self) -> None:
        """Tell every gateway what became of the kernel."""
        self._tell(Kind.STATE, self._about()[0])

    def tell_usage(self, usage: Usage) -> None:
        """Tell every gateway what the kernel's container uses."""
        self._tell(Kind.USAGE, usage._asdict())

    def _tell(self, kind: Kind, fields: "Dict[str, Any]") -> None:
        for identity in tuple(self._gateways):
            self._say(identity, encode(kind, fields))

    # ------------------------------------------------------------------------------------------------------ what comes

    def _say(self, identity: bytes, frames: Sequence[bytes]) -> None:
        try:
            self._socket.send_multipart([identity, *frames], zmq.NOBLOCK)
        except zmq.ZMQError:
            # It isn't connected any more. It comes back with another identity, and says how far it got.
            self._lose(identity)

    def _lose(self, identity: bytes) -> None:
        if self._gateways.pop(identity, None) is not None:
            self._sessions.detach_all(identity)
            for hand_over in [one for one in self._hand_overs if identity in {one.since, one.to}]:
                self._finish(hand_over)
            self._taken_in()

    def _read(self) -> None:
        while not self._socket.closed:
            try:
                identity, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._hear(identity, *decode(frames))
            except (ValueError, KeyError, TypeError, AttributeError):
                # Of a version that isn't spoken here. What it wanted it will miss; nobody else does.
                continue

    def _hear(self, identity: bytes, kind: Kind, fields: "Dict[str, Any]", parts: Sequence[bytes]) -> None:
        if kind is Kind.HELLO:
            self._welcome(identity, fields)
            return
        gateway = self._gateways.get(identity)
        if gateway is None:
            return
        if kind is Kind.SEND:
            taken = partial(self._say, identity, encode(Kind.TAKEN, {"number": fields["number"]}))
            self._send(fields["channel"], fields["session"], parts, taken)
        elif kind is Kind.ACKNOWLEDGE:
            gateway.acknowledged = max(gateway.acknowledged, int(fields["offset"]))
            self._pump(gateway)
            self._taken_in()
        elif kind is Kind.FOLLOW:
            gateway.position = position_of(fields["position"])
            gateway.acknowledged = gateway.position.offset
            self._pump(gateway)
        elif kind is Kind.READ:
            start, before = position_of(fields["position"]), position_of(fields["before"])
            most = min(int(fields["bytes"]), _LARGEST_PAGE)
            items, end = self._log.page(start, before=before, max_bytes=most)
            self._say(identity, encode_page(fields["id"], items, end))
        elif kind is Kind.DELIVERED:
            told = {session: position_of(value) for session, value in fields["sessions"].items()}
            self._sessions.delivered(identity, told)
            # What is told in between isn't its last word on a session that it has still to let go of.
            for hand_over in [one for one in self._hand_overs if one.since == identity and one.session_id == fields.get("left")]:
                self._finish(hand_over)
        elif kind is Kind.ATTACH:
            self._attach(identity, fields["session"])
        elif kind is Kind.COMMAND:
            self._say(identity, encode(Kind.DONE, {"id": fields["id"], "error": self._command(fields["name"], fields)}))

    def _welcome(self, identity: bytes, fields: "Dict[str, Any]") -> None:
        version = max(set(VERSIONS).intersection(fields["versions"]), default=None)
        if version is None:
            self._say(identity, encode(Kind.REFUSED, {"versions": VERSIONS}))
            return
        replica = str(fields["replica"])
        for stale in [one.identity for one in self._gateways.values() if one.replica == replica]:
            # Its connection broke, and nobody has noticed here.
            self._lose(stale)
        self._gateways[identity] = _Gateway(identity, replica)
        state, usage = self._about()
        answer = {"version": version, "epoch": self.epoch, "begin": self._log.begin, "end": self._log.end}
        self._say(identity, encode(Kind.WELCOME, {**answer, "state": state, "usage": usage._asdict()}))

    # -------------------------------------------------------------------------------------------------------- sessions

    def _attach(self, identity: bytes, session_id: str) -> None:
        since = self._sessions.attach(session_id, identity, end=self._log.end)
        if since is None or since not in self._gateways:
            self._tell_attached(identity, session_id)
            return
        self._say(since, encode(Kind.TAKEN_OVER, {"session": session_id}))
        timer = self._loop.call_later(_HAND_OVER_SECONDS, lambda: self._finish(hand_over))
        hand_over = _HandOver(session_id, identity, since, timer)
        self._hand_overs.append(hand_over)

    def _finish(self, hand_over: _HandOver) -> None:
        hand_over.timer.cancel()
        if hand_over in self._hand_overs:
            self._hand_overs.remove(hand_over)
            self._tell_attached(hand_over.to, hand_over.session_id)

    def _tell_attached(self, identity: bytes, session_id: str) -> None:
        position = self._sessions.position(session_id, end=self._log.end)
        self._say(identity, encode(Kind.ATTACHED, {"session": session_id, "position": position}))
