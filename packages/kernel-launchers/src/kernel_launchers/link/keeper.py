"""Stands between one kernel and its gateways: keeps what is said, whoever listens, and does to the kernel what they ask."""

import signal
import uuid
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence

import zmq

from enterprise_gateway_common.connection import SupervisorSettings
from enterprise_gateway_common.supervisor_protocol import KernelPhase
from kernel_launchers.errors import NotInstalled
from kernel_launchers.link.control_service import ControlService
from kernel_launchers.link.gateways import Gateways
from kernel_launchers.link.kernel_log import KernelLog
from kernel_launchers.link.kernel_sockets import KernelSockets
from kernel_launchers.link.messages import Headers, Signer, headers_of, parts_of
from kernel_launchers.link.poller import ZmqPoller
from kernel_launchers.link.protection import protect_this_process
from kernel_launchers.link.requests import Requests
from kernel_launchers.link.storage import LogEntry
from kernel_launchers.link.usage_reports import UsageReports
from kernel_launchers.supervisor.supervisor import Supervisor
from kernel_launchers.supervisor.usage import UsageMeter
from kernel_launchers.traits import KernelTraits

if TYPE_CHECKING:
    from kernel_launchers.supervisor.loop import Timer

__all__ = ["Keeper"]

# So long a kernel that has ended is kept for a gateway to say what is to become of it; after that its pod ends, too.
_DECISION_SECONDS = 30.0
# What a kernel gets for its end, in this order, when it is restarted: to end by itself, after SIGTERM.
_END_SECONDS = 2.5
_TERMINATION_SECONDS = 2.5
_RESTARTED = "The kernel was restarted."
_ENDED = "The kernel ended."
# The log must not run over while a gateway that reads it is only slow.
_FULL = 0.75
# That a cell begins may wait so long for what it says first: they go out together, which costs both ends half.
_BEGINNING_SECONDS = 0.003
# The two halves of an answer, reply and idle status, go by two sockets.
_REPLY_SECONDS = 2.0
_UNCLAIMED = (KernelPhase.PREPARING, KernelPhase.WAITING)


class Keeper:
    """Keeps a kernel for its gateways, over all of its restarts in this pod.

    Parameters
    ----------
    settings
        Where and for whom to listen, and how much to keep.
    key
        What messages to the kernel are signed with.
    supervisor
        Runs the kernel, and has started it.
    connection
        Returns the connection file of the kernel that was started last.
    traits
        What the kernel can.

    Raises
    ------
    NotInstalled
        ZeroMQ in this image can't authenticate gateways.
    """

    def __init__(
        self,
        *,
        settings: SupervisorSettings,
        key: str,
        supervisor: Supervisor,
        connection: "Callable[[], Mapping[str, Any]]",
        traits: KernelTraits,
    ) -> None:
        if not zmq.has("curve"):
            raise NotInstalled("the image's pyzmq was built without CURVE, by which gateways are authenticated")
        protect_this_process()
        self._supervisor = supervisor
        self._connection = connection
        self._signer = Signer(key=key, session=f"supervisor-{uuid.uuid4().hex}")
        self._requests = Requests(signer=self._signer)
        self._log = KernelLog(
            memory_bytes=settings.log_memory_bytes, file_bytes=settings.log_file_bytes, max_messages=settings.log_messages
        )
        self._phase = KernelPhase.PREPARING if settings.waits_for_claim else KernelPhase.RUNNING
        self._claimed_by: Optional[str] = None
        self._life = 0
        self._cause: Optional[str] = None
        self._ends_for_good = False
        self._restart_announced: Optional[str] = None
        self._decision: "Optional[Timer]" = None
        self._patience: "Optional[Timer]" = None
        self._said_more = False  # means: than that a cell begins
        self._passing_on: "Optional[Timer]" = None
        # Before anything is watched: it hands over what is.
        supervisor.loop.use(ZmqPoller())
        self._context: "zmq.Context[Any]" = zmq.Context()
        meter = UsageMeter()
        self._traits = traits
        self._control = ControlService(requests=self._requests, interrupt=self._interrupt, usage=lambda: meter.latest)
        self._gateways = Gateways(
            context=self._context,
            loop=supervisor.loop,
            settings=settings,
            log=self._log,
            about=lambda: (self._state(), meter.latest),
            send=self._send,
            command=self._obey,
            taken_in=self._hold_back,
        )
        self._usage = UsageReports(loop=supervisor.loop, meter=meter, tell=self._gateways.tell_usage)
        self._connect()

    def _connect(self) -> None:
        self._life += 1
        self._kernel = KernelSockets(
            context=self._context,
            loop=self._supervisor.loop,
            info=self._connection(),
            identity=f"supervisor-{self._life}".encode(),
            received=self._received,
            turn_over=self._pass_on,
        )
        if self._phase not in _UNCLAIMED:
            self._kernel.connect()

    # -------------------------------------------------------------------------------------------- the kernel's lives

    def ready_for_claim(self) -> None:
        """Tell gateways that what waits for a claim is ready for it."""
        if self._phase is KernelPhase.PREPARING:
            self._phase = KernelPhase.WAITING
            self._gateways.tell_state()

    def kernel_ended(self, cause: Optional[str], *, final: bool) -> bool:
        """Take note of the kernel's end; tell whether it may be started again in this pod.

        Parameters
        ----------
        final
            Whether the supervisor ends with it.
        """
        self._kernel.drain()
        self._kernel.close()
        self._forget_timers()
        restarting = self._phase is KernelPhase.RESTARTING and not final
        self._cause = cause or _ENDED
        self._append(*self._requests.answer_all(_RESTARTED if restarting else self._cause))
        if restarting:
            self._start_again()
            return True
        self._phase = KernelPhase.EXITED
        self._ends_for_good = self._ends_for_good or final
        self._gateways.tell_state()
        if self._ends_for_good:
            return False
        self._decision = self._supervisor.loop.call_later(_DECISION_SECONDS, self._supervisor.end)
        return True

    def _start_again(self) -> None:
        reason, self._restart_announced = self._restart_announced, None
        if reason is not None:
            # To clients the status means that the kernel died; of a restart that was asked for they aren't told.
            self._append(
                self._requests.made("iopub", "stream", {"name": "stderr", "text": f"{reason}\n"}),
                self._requests.made("iopub", "status", {"execution_state": "restarting"}),
            )
        self._supervisor.start_again()
        self._phase = KernelPhase.RUNNING
        self._connect()
        self._gateways.tell_state()

    def _forget_timers(self) -> None:
        for timer in (self._decision, self._patience, self._passing_on):
            if timer is not None:
                timer.cancel()
        self._decision = self._patience = self._passing_on = None

    def close(self) -> None:
        """Send what waits to be sent, and let go of everything."""
        self._forget_timers()
        self._usage.close()
        self._kernel.close()
        self._gateways.close()
        self._context.term()
        self._log.close()

    def _state(self) -> "Dict[str, Any]":
        return {
            "phase": self._phase.value,
            "life": self._life,
            "cause": self._cause,
            "final": self._ends_for_good,
            "open_requests": len(self._requests),
        }

    # ------------------------------------------------------------------------------------------------------- messages

    def _received(self, channel: str, frames: List[bytes]) -> None:
        parts = parts_of(frames)
        headers = headers_of(parts) if parts is not None else None
        if parts is None or headers is None:
            # No client could read it either.
            return
        recipient = None if channel == "iopub" else self._requests.recipient(headers)
        if self._requests.seen(channel, headers, parts[3]):
            self._supervisor.loop.call_later(_REPLY_SECONDS, lambda: self._answer_the_rest(headers.parent_id))
        if not self._traits.serves_control:
            self._control.seen(headers, parts[3])
        self._said_more = self._said_more or not _only_begins(headers, parts)
        self._log.append(LogEntry(channel, parts, recipient=recipient, message_type=headers.msg_type))

    def _answer_the_rest(self, request_id: str) -> None:
        # What has been said may not have been read: nothing is while the log is about to run over.
        self._kernel.read_replies()
        self._append(*self._requests.answer_the_rest(request_id))
        self._pass_on()

    def _pass_on(self) -> None:
        if self._said_more:
            self._pass_on_now()
        elif self._passing_on is None:
            self._passing_on = self._supervisor.loop.call_later(_BEGINNING_SECONDS, self._pass_on_now)

    def _pass_on_now(self) -> None:
        if self._passing_on is not None:
            self._passing_on.cancel()
            self._passing_on = None
        self._said_more = False
        self._gateways.appended()
        self._hold_back()

    def _append(self, *entries: LogEntry) -> None:
        if not entries:
            return
        for entry in entries:
            self._log.append(entry)
        self._gateways.appended()

    def _hold_back(self) -> None:
        if self._phase is not KernelPhase.EXITED:
            self._kernel.read(self._gateways.ahead < _FULL * self._log.capacity)

    def _send(self, channel: str, session_id: str, frames: Sequence[bytes], taken: "Callable[[], None]") -> None:
        parts = parts_of(frames)
        headers = headers_of(parts) if parts is not None else None
        if parts is None or headers is None or not self._requests.is_new(headers, session_id=session_id):
            taken()
            return
        if channel == "control" and self._is_answered_here(headers.msg_type) and self._phase is not KernelPhase.EXITED:
            answers = self._control.answers(headers, parts, session_id=session_id)
            if answers is not None:
                self._append(*answers)
                taken()
                return
        self._note_shutdown(channel, headers, parts)
        request = self._requests.sent(channel, headers, parts, session_id=session_id)
        if request is not None:
            self._log.append(request)
        if self._phase is KernelPhase.EXITED:
            self._append(*self._requests.answer_all(self._cause or _ENDED))
            taken()
        else:
            # What a kernel doesn't read counts as the gateway's until it does, which bounds it.
            self._kernel.send(channel, list(frames), sent=taken)
            self._pass_on()

    def _is_answered_here(self, request_type: str) -> bool:
        return not self._traits.serves_control or request_type in self._traits.answered_for

    def _note_shutdown(self, channel: str, headers: Headers, parts: Sequence[bytes]) -> None:
        if channel == "control" and headers.msg_type == "shutdown_request":
            self._ends_for_good = b"true" not in parts[3]

    # -------------------------------------------------------------------------------------------------------- commands

    def _obey(self, name: str, fields: "Dict[str, Any]") -> Optional[str]:
        if name == "claim":
            return self._claim(str(fields["kernel_id"]), fields["environment"])
        if self._phase in _UNCLAIMED:
            return "its pod hasn't been claimed"
        if name == "interrupt":
            if self._phase is KernelPhase.EXITED:
                return "the kernel has ended"
            self._interrupt()
            return None
        if name == "restart":
            return self._restart(int(fields["life"]), reason=fields.get("reason"), now=bool(fields.get("now")))
        return f"the supervisor doesn't know the command {name}"

    def _claim(self, kernel_id: str, environment: "Dict[str, str]") -> Optional[str]:
        """Let the kernel begin, whose it is from now on; twice by the same is done once."""
        if self._phase in _UNCLAIMED:
            self._claimed_by, self._phase = kernel_id, KernelPhase.RUNNING
            self._supervisor.claim(environment)
            self._kernel.connect()
            self._gateways.tell_state()
            return None
        return None if self._claimed_by == kernel_id else "its pod doesn't wait for a claim"

    def _interrupt(self) -> None:
        if self._traits.interrupted_by_message:
            self._kernel.send("control", self._signer.sign(self._signer.make("interrupt_request", {})))
        else:
            self._supervisor.interrupt()

    def _restart(self, life: int, *, reason: Optional[str], now: bool) -> Optional[str]:
        """Begin to restart the kernel; twice the same is done once."""
        if life != self._life or self._phase is KernelPhase.RESTARTING:
            return None
        self._restart_announced = reason
        if self._phase is KernelPhase.EXITED:
            self._forget_timers()
            self._start_again()
            return None
        self._phase = KernelPhase.RESTARTING
        self._gateways.tell_state()
        if now:
            self._supervisor.send_signal(signal.SIGKILL)
            return None
        self._supervisor.interrupt()
        self._kernel.send("control", self._signer.sign(self._signer.make("shutdown_request", {"restart": True})))
        self._patience = self._supervisor.loop.call_later(_END_SECONDS, self._terminate)
        return None

    def _terminate(self) -> None:
        self._supervisor.signal_kernel(signal.SIGTERM)
        self._patience = self._supervisor.loop.call_later(
            _TERMINATION_SECONDS, lambda: self._supervisor.send_signal(signal.SIGKILL)
        )


def _only_begins(headers: Headers, parts: Sequence[bytes]) -> bool:
    """Tell whether a message says no more than that the kernel works on a request now."""
    return headers.msg_type == "execute_input" or (headers.msg_type == "status" and b'"busy"' in parts[3])
