"""One execution: a request to run code, what became of it, and its outputs."""

import json
from typing import Any, Dict, List, Optional, Tuple

from enterprise_gateway_common.executions.outputs import Outputs

__all__ = ["ABORTED", "ERROR", "OK", "QUEUED", "RUNNING", "Execution", "json_object"]

QUEUED = "queued"
RUNNING = "running"
OK = "ok"
ERROR = "error"
ABORTED = "aborted"

_MOST_CODE = 128 * 1024
_MOST_METADATA = 16 * 1024
_OVERHEAD_BYTES = 1024
_MESSAGE_OVERHEAD_BYTES = 128
# Messages are applied many at a time: a loop that prints characters would copy its line once for each of them.
_MOST_PENDING_BYTES = 64 * 1024
_NOTICE_BYTES = 512


class Execution:
    """What is known of one execution; messages are kept as they came and applied when somebody looks, or many wait.

    Parameters
    ----------
    msg_id
        Of the request.
    requested
        Seconds since the epoch at which the request was seen, or the first that was heard of it.
    """

    __slots__ = (
        "_metadata_bytes",
        "_outputs",
        "_pending",
        "_pending_bytes",
        "awaits_reply",
        "code",
        "ended",
        "execution_count",
        "failed",
        "idle",
        "metadata",
        "msg_id",
        "outcome",
        "requested",
        "silent",
        "started",
        "truncated",
    )

    def __init__(self, msg_id: str, *, requested: float) -> None:
        self.msg_id = msg_id
        self.code = ""
        self.metadata: Dict[str, Any] = {}
        self.silent = False
        """Whether it was a program's, that no history and no prompt tells of."""
        self.execution_count: Optional[int] = None
        self.requested = requested
        self.started: Optional[float] = None
        self.ended: Optional[float] = None
        self.truncated = False
        """Whether something of its code, its metadata or its outputs isn't here."""
        self.awaits_reply = False
        """Whether its request was seen, so that its reply will be, and the reply wasn't."""
        self.outcome: Optional[str] = None
        """The reply's word."""
        self.idle = False
        self.failed = False
        """Whether an error is among its outputs."""
        self._metadata_bytes = 0
        self._outputs = Outputs()
        self._pending: List[Tuple[str, bytes]] = []
        self._pending_bytes = 0

    @property
    def state(self) -> str:
        """`QUEUED`, `RUNNING`, `OK`, `ERROR` or `ABORTED`."""
        if self.ended is None:
            return QUEUED if self.started is None else RUNNING
        if self.outcome is None:
            return ERROR if self.failed else OK
        return self.outcome

    @property
    def size(self) -> int:
        """Bytes that it takes, nearly."""
        return _OVERHEAD_BYTES + 2 * len(self.code) + self._metadata_bytes + self.output_size

    @property
    def output_size(self) -> int:
        """Bytes of its outputs alone."""
        return self._pending_bytes + self._outputs.size

    # ------------------------------------------------------------------------------------------------------- request

    def asked(self, content: bytes, metadata: bytes) -> None:
        """Take over the content and the metadata of its request."""
        request = json_object(content)
        self.awaits_reply = True
        self.silent = request.get("silent") is True
        self.take_code(request.get("code"))
        if len(metadata) <= _MOST_METADATA:
            self.metadata, self._metadata_bytes = json_object(metadata), 2 * len(metadata)
        else:
            self.truncated = True

    def take_code(self, code: object) -> None:
        """Take over its code, or the beginning of one that is too long."""
        if isinstance(code, str) and not self.code:
            self.code = code[:_MOST_CODE]
            self.truncated = self.truncated or len(code) > _MOST_CODE

    # -------------------------------------------------------------------------------------------------------- outputs

    def add(self, message_type: str, content: bytes, *, most_bytes: int) -> None:
        """Add a message of a type of `OUTPUT_TYPES`; one of more than so many bytes leaves its size behind."""
        if len(content) > most_bytes:
            self.truncated = True
            message_type, content = "", b'{"size": %d}' % len(content)
        self._pending.append((message_type, content))
        self._pending_bytes += _MESSAGE_OVERHEAD_BYTES + len(content)
        if self._pending_bytes > _MOST_PENDING_BYTES:
            self.fold()

    def fold(self) -> None:
        """Apply the messages that wait."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        stream: Optional[str] = None
        texts: List[str] = []
        for (message_type, raw), content in zip(pending, _json_objects([raw for _, raw in pending])):
            name = str(content.get("name", "stdout")) if message_type == "stream" else None
            if texts and name != stream:
                self._write(stream, texts)
                texts = []
            stream = name
            if name is not None:
                texts.append(str(content.get("text", "")))
            elif message_type:
                self._outputs.apply(message_type, content, len(raw))
            else:
                self._outputs.leave_out(f"an output of {content['size']} bytes")
        if texts:
            self._write(stream, texts)

    def _write(self, name: Optional[str], texts: List[str]) -> None:
        self._outputs.apply("stream", {"name": name, "text": "".join(texts)}, 0)

    def cut_outputs(self, most_bytes: int) -> None:
        """Leave out what stands in the middle of its outputs until they take at most so many bytes."""
        self.fold()
        self.truncated = self._outputs.cut(most_bytes) or self.truncated

    def drop_outputs(self) -> None:
        """Forget all outputs; what stays is an output that says so."""
        size = self.output_size
        if size > _NOTICE_BYTES:
            self._pending, self._pending_bytes, self._outputs = [], 0, Outputs()
            self._outputs.leave_out(f"all outputs until here, {size} bytes,")
            self.truncated = True

    def outputs(self, *, error_instead: Optional[Dict[str, Any]] = None) -> List[Dict[str, Any]]:
        """Return its outputs as a notebook has them, for reading only.

        Parameters
        ----------
        error_instead
            What stands in place of each error of the user's own code, where its details must not be shown.
        """
        self.fold()
        return self._outputs.as_nbformat(error_instead=error_instead)


_decode = json.JSONDecoder(parse_constant=lambda _: None).decode


def json_object(raw: bytes) -> Dict[str, Any]:
    """Return what a part of a message holds; nothing where that is no JSON object."""
    value = _json(raw)
    return value if isinstance(value, dict) else {}


def _json_objects(raws: List[bytes]) -> List[Dict[str, Any]]:
    # One text for all of them is decoded in a fraction of the time.
    values = _json(b"[%s]" % b",".join(raws))
    if isinstance(values, list) and len(values) == len(raws):
        return [value if isinstance(value, dict) else {} for value in values]
    return [json_object(raw) for raw in raws]


def _json(raw: bytes) -> object:
    try:
        return _decode(raw.decode())
    except (ValueError, RecursionError):
        return None
