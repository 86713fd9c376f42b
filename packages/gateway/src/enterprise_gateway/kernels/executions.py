"""What kernels ran, for those who weren't connected; and running code without a connection."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from enterprise_gateway.errors import (
    BadRequest,
    Conflict,
    ExecutionNotFound,
    Forbidden,
    NotSupported,
    Unavailable,
)
from enterprise_gateway.identity import Identity
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.output_changes import Event, OutputChanges
from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.links.hidden_errors import hidden_error
from enterprise_gateway.links.messages import Header, MalformedMessage
from enterprise_gateway.links.requests import HeldMessage, KernelDoesNotRead, TooManyWait
from enterprise_gateway_common.executions.execution import Execution
from enterprise_gateway_common.executions.notebook import describe, notebook
from enterprise_gateway_common.kernel_messages.message_types import EXECUTE_REQUEST

__all__ = ["CodeToRun", "ExecutionRules", "Executions", "KernelRecord"]

# A cell's output is many messages; who follows gets what came within this time at once.
_GATHER_SECONDS = 0.05
_REST_FACTOR = 20
# Below the minute after which most proxies take a silent connection for dead.
_KEEP_ALIVE_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class ExecutionRules:
    """What the administrator decides about executions."""

    recorded: bool = True
    """Whether anything is recorded."""
    allowed_message_types: frozenset[str] = frozenset()
    """Types of messages that clients may send; all when empty."""
    allow_tracebacks: bool = True
    """Whether the details of a user's own errors reach the user."""
    traceback_replacement_message: str = ""
    """What stands in place of a traceback that isn't shown."""
    ready_timeout: float = 60.0
    """Seconds that a request waits for what a kernel's supervisor kept."""


@dataclass(frozen=True, kw_only=True)
class CodeToRun:
    """A client's request to run code."""

    code: str
    silent: bool = False
    store_history: bool = True
    stop_on_error: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Of the message; a client may name its cell there."""


class KernelRecord:
    """The executions of one kernel, as its owner may see them.

    Parameters
    ----------
    kernel
        Whose executions these are.
    rules
        The administrator's choices.
    """

    def __init__(self, *, kernel: Kernel, rules: ExecutionRules) -> None:
        self._kernel = kernel
        self._rules = rules
        self._recorder = kernel.link.executions

    def all(self) -> list[Execution]:
        """Return every execution that is known, in the order of their requests."""
        return self._recorder.all()

    def get(self, msg_id: str) -> Execution:
        """Return one execution.

        Raises
        ------
        ExecutionNotFound
            None of this id is known.
        """
        execution = self._recorder.get(msg_id)
        if execution is None:
            raise ExecutionNotFound(msg_id)
        return execution

    def outputs(self, execution: Execution) -> list[dict[str, Any]]:
        """Return the outputs of an execution, the user's own errors without their details where those must not be shown."""
        instead = None if self._rules.allow_tracebacks else hidden_error(self._rules.traceback_replacement_message)
        return execution.outputs(error_instead=instead)

    def model(self, execution: Execution) -> dict[str, Any]:
        """Return an execution with its outputs as JSON values."""
        return {**describe(execution), "outputs": self.outputs(execution)}

    def notebook(self, executions: Iterable[Execution]) -> dict[str, Any]:
        """Return executions as a notebook."""
        spec = self._kernel.kernelspec.spec
        kernelspec = {"name": self._kernel.name, "display_name": spec.display_name, "language": spec.language}
        return notebook(executions, kernelspec=kernelspec, outputs=self.outputs)

    async def follow(self, execution: Execution) -> AsyncGenerator[Event | None]:
        """Tell of an execution and its outputs until it has ended; `None` where nothing happened for a while.

        Who reads slowly gets fewer events, each of them of more.
        """
        changed = asyncio.Event()
        self._recorder.watch(execution.msg_id, changed.set)
        try:
            described, changes = None, OutputChanges()
            while execution.ended is None and self._recorder.get(execution.msg_id) is execution:
                changed.clear()
                began = time.perf_counter()
                if described != (described := describe(execution)):
                    yield "execution", described
                events = list(changes.until(self.outputs(execution)))
                spent = time.perf_counter() - began
                for event in events:
                    yield event
                try:
                    async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    yield None
                else:
                    # To look at megabytes of output takes milliseconds, in which nobody else gets a turn.
                    await asyncio.sleep(max(_GATHER_SECONDS, _REST_FACTOR * spent))
            for event in changes.until(self.outputs(execution)):
                yield event
            yield "end", describe(execution)
        finally:
            self._recorder.unwatch(execution.msg_id, changed.set)


class Executions:
    """Finds what a kernel ran, and has it run more.

    Parameters
    ----------
    kernels
        The kernels; who may not use one finds none of its executions.
    rules
        The administrator's choices.
    """

    def __init__(self, *, kernels: Kernels, rules: ExecutionRules) -> None:
        self._kernels = kernels
        self._rules = rules

    async def of(self, kernel_id: str, identity: Identity) -> KernelRecord:
        """Return the executions of a kernel.

        Raises
        ------
        GatewayError
            There is no such kernel that the caller may use, or executions aren't recorded here.
        """
        kernel = await self._kernels.find(kernel_id, identity)
        self._check_recorded()
        await self._recall(kernel)
        return KernelRecord(kernel=kernel, rules=self._rules)

    def _check_recorded(self) -> None:
        if not self._rules.recorded:
            raise NotSupported("Executions aren't recorded here: EG_EXECUTIONS_MAX_COUNT is 0.")

    async def _recall(self, kernel: Kernel) -> None:
        try:
            async with asyncio.timeout(self._rules.ready_timeout):
                await kernel.link.recall()
        except TimeoutError:
            raise Unavailable(f"What kernel {kernel.kernel_id} ran can't be had from its pod now. Try again later.") from None

    async def run(self, kernel_id: str, request: CodeToRun, identity: Identity) -> Execution:
        """Send code to a kernel, which may still start, and return the execution without waiting for it.

        Raises
        ------
        GatewayError
            There is no such kernel that the caller may use, it is dead, it doesn't read, or clients may not run code.
        """
        kernel = await self._kernels.find(kernel_id, identity)
        self._check_recorded()
        allowed = self._rules.allowed_message_types
        if allowed and EXECUTE_REQUEST not in allowed:
            raise Forbidden("This installation doesn't allow clients to run code: EG_ALLOWED_MESSAGE_TYPES leaves it out.")
        await self._recall(kernel)
        record = KernelRecord(kernel=kernel, rules=self._rules)
        message = _message(kernel, request)
        kernel.client_message(EXECUTE_REQUEST)
        try:
            if not kernel.link.send(message):
                raise Conflict(f"Kernel {kernel.kernel_id} is dead: {kernel.reason or 'The kernel was shut down.'}")
        except TooManyWait as error:
            raise Unavailable(str(error)) from None
        except KernelDoesNotRead:
            raise Unavailable(f"Kernel {kernel.kernel_id} doesn't read: too much waits for it already.") from None
        except MalformedMessage as error:
            raise BadRequest("The kernel speaks a version of Jupyter's protocol that has no such request.") from error
        return record.get(message.header.msg_id)


def _message(kernel: Kernel, request: CodeToRun) -> HeldMessage:
    session = kernel.link.session
    # No connection has this session, and the gateway's own questions have another: the reply is recorded, and goes nowhere.
    session_id = f"executions-{uuid.uuid4().hex}"
    header = {**session.msg_header(EXECUTE_REQUEST), "msg_id": uuid.uuid4().hex, "session": session_id}
    content = {
        "code": request.code,
        "silent": request.silent,
        "store_history": request.store_history,
        "stop_on_error": request.stop_on_error,
        "user_expressions": {},
        # Nobody is there to be asked.
        "allow_stdin": False,
    }
    parts = [session.pack(part) for part in (header, {}, dict(request.metadata), content)]
    return HeldMessage("shell", Header(header["msg_id"], EXECUTE_REQUEST), parts, session_id)
