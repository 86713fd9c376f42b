"""Records what a kernel ran and what came of it, from the messages of its clients and its own, within bounds."""

import json
import time
from collections import OrderedDict
from typing import Callable, Dict, List, Optional

from enterprise_gateway_common.executions.execution import ABORTED, ERROR, OK, Execution, json_object
from enterprise_gateway_common.executions.outputs import KERNEL_ERROR, OUTPUT_TYPES, display_id_of, execution_count_of
from enterprise_gateway_common.kernel_messages.message_types import EXECUTE_REQUEST
from enterprise_gateway_common.kernel_messages.request_ids import bounded_id

__all__ = ["ExecutionRecorder"]

# What is decoded at once, and not when somebody looks: longer requests and replies are known by their outputs alone.
_MOST_DECODED = 4 << 20
_OUTCOMES = {"ok": OK, "error": ERROR, "aborted": ABORTED, "abort": ABORTED}
_MOST_DISPLAYS = 4096


class ExecutionRecorder:
    """Knows the executions of one kernel, the oldest first, with their outputs.

    Outputs are kept raw and decoded when somebody looks. Beyond the bounds the outputs of the oldest executions go first;
    one that is alone too large loses its middle. Whatever lost something is marked `truncated`.

    Parameters
    ----------
    max_executions, max_bytes
        The most that is kept: executions, and bytes of all together. 0 executions records nothing.
    clock
        Seconds since the epoch.
    size_changed
        Told by how many bytes the record grew or shrank.
    """

    def __init__(
        self,
        *,
        max_executions: int,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
        size_changed: Callable[[int], None] = lambda change: None,  # noqa: ARG005 - nobody counts
    ) -> None:
        self._max_executions = max_executions
        self._max_bytes = max_bytes
        self._clock = clock
        self._size_changed = size_changed
        self._executions: "OrderedDict[str, Execution]" = OrderedDict()
        self._sizes: Dict[str, int] = {}
        self._bytes = 0
        self._replied: Dict[str, Execution] = {}  # means: the reply came, its idle did not
        self._displays: "OrderedDict[str, List[str]]" = OrderedDict()
        self._watchers: Dict[str, List[Callable[[], None]]] = {}

    @property
    def size(self) -> int:
        """Bytes that the record takes, nearly."""
        return self._bytes

    def all(self) -> List[Execution]:
        """Return every execution, in the order of their requests."""
        return list(self._executions.values())

    def get(self, msg_id: str) -> Optional[Execution]:
        """Return one execution by the id of its request."""
        return self._executions.get(bounded_id(msg_id))

    def watch(self, msg_id: str, watcher: Callable[[], None]) -> None:
        """Tell somebody whenever an execution has changed or is gone, until `unwatch`."""
        self._watchers.setdefault(bounded_id(msg_id), []).append(watcher)

    def unwatch(self, msg_id: str, watcher: Callable[[], None]) -> None:
        """Tell that watcher no more."""
        key = bounded_id(msg_id)
        self._watchers[key].remove(watcher)
        if not self._watchers[key]:
            del self._watchers[key]

    def _tell_watchers(self, key: str) -> None:
        if self._watchers:
            for watcher in tuple(self._watchers.get(key, ())):
                watcher()

    def clear(self) -> None:
        """Forget every execution."""
        for key in tuple(self._executions):
            self._forget(key)

    # ------------------------------------------------------------------------------------------------------- requests

    def requested(self, message_type: str, msg_id: str, *, content: bytes, metadata: bytes) -> None:
        """Take note of a request that a client sends to the kernel; only one to run code means anything here."""
        if message_type != EXECUTE_REQUEST or not self._max_executions:
            return
        key = bounded_id(msg_id)
        self._forget(key)
        execution = self._add(key)
        if len(content) <= _MOST_DECODED:
            execution.asked(content, metadata)
        else:
            execution.awaits_reply = execution.truncated = True
        self._touched(execution)

    def _add(self, key: str) -> Execution:
        execution = self._executions[key] = Execution(key, requested=self._clock())
        while len(self._executions) > self._max_executions:
            ended = (key for key, one in self._executions.items() if one.ended is not None)
            self._forget(next(ended, None) or next(iter(self._executions)))
        return execution

    def _forget(self, key: str) -> None:
        execution = self._executions.pop(key, None)
        if execution is None:
            return
        self._replied.pop(key, None)
        self._count(key, 0)
        for display_id in [display_id for display_id, shown_in in self._displays.items() if key in shown_in]:
            self._displays[display_id].remove(key)
            if not self._displays[display_id]:
                del self._displays[display_id]
        self._tell_watchers(key)

    # ------------------------------------------------------------------------------------------- messages of the kernel

    def seen(
        self,
        channel: str,
        message_type: str,
        *,
        parent_id: str,
        parent_type: str,
        content: bytes,
        by_kernel: bool = True,
    ) -> None:
        """Take note of a message of the kernel; one that doesn't belong to an execution means nothing here.

        Parameters
        ----------
        by_kernel
            Whether the kernel said it; an answer in place of a dead kernel's holds nothing of the user's code.
        """
        if parent_type != EXECUTE_REQUEST or not self._max_executions:
            return
        key = bounded_id(parent_id)
        execution = self._executions.get(key)
        if channel != "iopub":
            if execution is not None and message_type == "execute_reply":
                self._reply(execution, content)
        elif message_type in OUTPUT_TYPES:
            kind = message_type if by_kernel or message_type != "error" else KERNEL_ERROR
            self._output(execution or self._heard_of(key), kind, content)
        elif message_type == "status":
            self._status(execution, key, content)
        elif message_type == "execute_input":
            self._input(execution or self._heard_of(key, from_its_beginning=True), content)

    def _heard_of(self, key: str, *, from_its_beginning: bool = False) -> Execution:
        execution = self._add(key)
        execution.started = execution.requested
        execution.truncated = not from_its_beginning
        return execution

    def _status(self, execution: Optional[Execution], key: str, content: bytes) -> None:
        if b'"busy"' in content:
            # A kernel drops output that a subscriber is too slow for, and so an idle may never come.
            for other in [other for other in self._replied.values() if other is not execution]:
                self._end(other)
            if execution is None:
                execution = self._heard_of(key, from_its_beginning=True)
            elif execution.started is None:
                execution.started = self._clock()
        elif b'"idle"' in content and execution is not None:
            execution.idle = True
            self._end_where_done(execution)
        else:
            return
        self._touched(execution)

    def _input(self, execution: Execution, content: bytes) -> None:
        if len(content) > _MOST_DECODED:
            execution.truncated = True
            return
        said = json_object(content)
        execution.execution_count = execution_count_of(said)
        execution.take_code(said.get("code"))
        self._touched(execution)

    def _reply(self, execution: Execution, content: bytes) -> None:
        reply = json_object(content) if len(content) <= _MOST_DECODED else {}
        status = reply.get("status")
        execution.outcome = _OUTCOMES.get(status) if isinstance(status, str) else None
        if execution.outcome == ABORTED:
            # Nothing of it ran, so nothing more comes.
            execution.idle = True
        execution.awaits_reply = False
        self._replied[execution.msg_id] = execution
        self._end_where_done(execution)
        self._touched(execution)

    def _end_where_done(self, execution: Execution) -> None:
        if execution.idle and not execution.awaits_reply:
            self._end(execution)

    def _end(self, execution: Execution) -> None:
        self._replied.pop(execution.msg_id, None)
        if execution.ended is None:
            execution.ended = self._clock()
            self._touched(execution)

    def kernel_ended(self, name: str, cause: str) -> None:
        """End what still runs, or waits to, with an error: the kernel is gone.

        Parameters
        ----------
        name, cause
            The error's name and the words for the user.
        """
        for execution in self.all():
            if execution.ended is None:
                if execution.started is not None and not execution.failed:
                    self._add_error(execution, name, cause)
                execution.outcome = execution.outcome or ERROR
                self._end(execution)

    def _add_error(self, execution: Execution, name: str, cause: str) -> None:
        content = json.dumps({"ename": name, "evalue": cause, "traceback": [f"{name}: {cause}"]}).encode()
        self._output(execution, KERNEL_ERROR, content)

    # -------------------------------------------------------------------------------------------------------- outputs

    def _output(self, execution: Execution, message_type: str, content: bytes) -> None:
        if message_type == "update_display_data":
            display_id = display_id_of(json_object(content))
            # A cell may update what another one has shown.
            for key in self._displays.get(bounded_id(display_id or ""), ()):
                self._keep(self._executions[key], message_type, content)
            return
        if message_type in {"error", KERNEL_ERROR}:
            execution.failed = True
        elif b'"display_id"' in content and message_type != "stream":
            self._shown(execution, display_id_of(json_object(content)))
        self._keep(execution, message_type, content)

    def _shown(self, execution: Execution, display_id: Optional[str]) -> None:
        if display_id is None:
            return
        shown_in = self._displays.setdefault(bounded_id(display_id), [])
        if execution.msg_id not in shown_in:
            shown_in.append(execution.msg_id)
        if len(self._displays) > _MOST_DISPLAYS:
            self._displays.popitem(last=False)

    def _keep(self, execution: Execution, message_type: str, content: bytes) -> None:
        # Of text the middle can go, so it may be longer than what goes as a whole.
        most = max(_MOST_DECODED, self._max_bytes) if message_type == "stream" else self._max_bytes // 4
        execution.add(message_type, content, most_bytes=most)
        self._touched(execution)

    # --------------------------------------------------------------------------------------------------------- bounds

    def _touched(self, execution: Execution) -> None:
        self._count(execution.msg_id, execution.size)
        if self._bytes > self._max_bytes:
            self._make_room(execution)
        self._tell_watchers(execution.msg_id)

    def _count(self, key: str, size: int) -> None:
        change = size - self._sizes.pop(key, 0)
        if size:
            self._sizes[key] = size
        self._bytes += change
        self._size_changed(change)

    def _make_room(self, newest: Execution) -> None:
        """Bring the record well below its bound, so that not every message has to."""
        most = self._max_bytes * 3 // 4
        for step in (Execution.fold, Execution.drop_outputs):
            for execution in self.all():
                if self._bytes <= most:
                    return
                if execution is not newest or step is Execution.fold:
                    step(execution)
                    self._count(execution.msg_id, execution.size)
        # Cut down further than asked, or each message to come would cut again.
        newest.cut_outputs(max(most // 2, most - (self._bytes - newest.output_size)))
        self._count(newest.msg_id, newest.size)
        for execution in self.all():
            if self._bytes <= most:
                return
            if execution is not newest and execution.ended is not None:
                self._forget(execution.msg_id)
