"""The outputs of one execution, as a notebook keeps them: messages in, nbformat's outputs out."""

import json
from typing import Any, Dict, List, Optional, Union

from enterprise_gateway_common.executions.stream_text import StreamText

__all__ = ["KERNEL_ERROR", "OUTPUT_TYPES", "Outputs"]

OUTPUT_TYPES = frozenset({"clear_output", "display_data", "error", "execute_result", "stream", "update_display_data"})
"""Types of messages that change a cell's outputs."""

KERNEL_ERROR = "kernel_error"
"""Stands for an error that says what became of the kernel: whoever made it up, it wasn't the user's code."""

_OVERHEAD_BYTES = 256


class _Stream:
    __slots__ = ("name", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = StreamText()

    @property
    def size(self) -> int:
        return _OVERHEAD_BYTES + self.text.size

    def as_nbformat(self) -> Dict[str, Any]:
        return {"output_type": "stream", "name": self.name, "text": str(self.text)}


class _Whole:
    """An output that comes in one message; an update of its display takes its place."""

    __slots__ = ("display_id", "of_user_code", "size", "value")

    def __init__(self, value: Dict[str, Any], size: int, display_id: Optional[str] = None, *, of_user_code: bool = True) -> None:
        self.value = value
        self.size = _OVERHEAD_BYTES + size
        self.display_id = display_id
        self.of_user_code = of_user_code

    def as_nbformat(self) -> Dict[str, Any]:
        return self.value


class Outputs:
    """Applies the messages of an execution in order, as a notebook does that shows them.

    A stream goes on in the output before it where that is of the same stream. An update replaces every output of its
    display. `clear_output` takes everything away, at once or as soon as there is something in its place.
    """

    __slots__ = ("_clears_next", "_gap_at", "_gap_bytes", "_gap_outputs", "_items", "size")

    def __init__(self) -> None:
        self._items: List[Union[_Stream, _Whole]] = []
        self.size = 0
        self._clears_next = False
        self._forget_gap()

    def _forget_gap(self) -> None:
        self._gap_at = self._gap_outputs = self._gap_bytes = 0

    # ------------------------------------------------------------------------------------------------------- messages

    def apply(self, message_type: str, content: Dict[str, Any], size: int) -> None:
        """Apply one message; one that is neither of a type of `OUTPUT_TYPES` nor a `KERNEL_ERROR` changes nothing.

        Parameters
        ----------
        size
            Bytes of the message's content.
        """
        if message_type == "stream":
            self._stream(_text(content.get("name"), "stdout"), _text(content.get("text")))
        elif message_type == "update_display_data":
            self._update(display_id_of(content), content, size)
        elif message_type == "clear_output":
            self._clear(wait=bool(content.get("wait")))
        elif message_type in {"error", KERNEL_ERROR}:
            self._add(_Whole(_error(content), size, of_user_code=message_type == "error"))
        elif message_type in {"display_data", "execute_result"}:
            self._add(_Whole(_rich(message_type, content), size, display_id_of(content)))

    def leave_out(self, what: str) -> None:
        """Say in the place of something that it isn't kept."""
        self._stream("stderr", f"[… {what} left out …]\n")

    def _stream(self, name: str, text: str) -> None:
        self._clear_where_due()
        last = self._items[-1] if self._items else None
        if not isinstance(last, _Stream) or last.name != name:
            last = _Stream(name)
            self._append(last)
        before = last.size
        last.text.write(text)
        self.size += last.size - before

    def _update(self, display_id: Optional[str], content: Dict[str, Any], size: int) -> None:
        for item in self._items:
            if isinstance(item, _Whole) and display_id is not None and item.display_id == display_id:
                rich = _rich("display_data", content)
                # A new value: who was given the old one still has that.
                item.value = {**item.value, "data": rich["data"], "metadata": rich["metadata"]}
                self.size += _OVERHEAD_BYTES + size - item.size
                item.size = _OVERHEAD_BYTES + size

    def _add(self, item: _Whole) -> None:
        self._clear_where_due()
        self._append(item)

    def _append(self, item: Union[_Stream, _Whole]) -> None:
        self._items.append(item)
        self.size += item.size

    def _clear(self, *, wait: bool) -> None:
        self._clears_next = wait
        if not wait:
            self._items, self.size = [], 0
            self._forget_gap()

    def _clear_where_due(self) -> None:
        if self._clears_next:
            self._clear(wait=False)

    # --------------------------------------------------------------------------------------------------------- bounds

    def cut(self, most_bytes: int) -> bool:
        """Leave out what stands in the middle until at most so many bytes are kept; tell whether anything had to go.

        The newest output stays, cut itself if need be, and so does as much of the beginning as a third of the bytes holds.
        """
        if self.size <= most_bytes:
            return False
        for item in self._items:
            if isinstance(item, _Stream):
                before = item.size
                item.text.cut(most_bytes // 2)
                self.size += item.size - before
        if not self._gap_outputs:
            self._gap_at = self._count_head(most_bytes // 3)
        while self.size > most_bytes and len(self._items) > 1:
            if self._gap_at == len(self._items) - 1:
                # The beginning has grown by updates.
                self._gap_at -= 1
            gone = self._items.pop(self._gap_at)
            self.size -= gone.size
            self._gap_outputs += 1
            self._gap_bytes += gone.size
        return True

    def _count_head(self, most_bytes: int) -> int:
        kept = 0
        for index, item in enumerate(self._items):
            kept += item.size
            if kept > most_bytes:
                return index
        return len(self._items)

    # -------------------------------------------------------------------------------------------------------- reading

    def as_nbformat(self, *, error_instead: Optional[Dict[str, Any]] = None) -> List[Dict[str, Any]]:
        """Return the outputs, for reading only; where some were left out, one says so.

        Parameters
        ----------
        error_instead
            What stands in place of each error of the user's own code, where its details must not be shown.
        """
        outputs = [item.as_nbformat() if error_instead is None else _without_details(item, error_instead) for item in self._items]
        if self._gap_outputs:
            text = f"[… {self._gap_outputs} outputs of {self._gap_bytes} bytes left out …]\n"
            outputs.insert(self._gap_at, {"output_type": "stream", "name": "stderr", "text": text})
        return outputs


def _without_details(item: Union[_Stream, _Whole], error_instead: Dict[str, Any]) -> Dict[str, Any]:
    output = item.as_nbformat()
    of_user_code = isinstance(item, _Whole) and item.of_user_code
    return {"output_type": "error", **error_instead} if of_user_code and output["output_type"] == "error" else output


def display_id_of(content: Dict[str, Any]) -> Optional[str]:
    """Return the id by which a display can be updated later."""
    transient = content.get("transient")
    display_id = transient.get("display_id") if isinstance(transient, dict) else None
    return display_id if isinstance(display_id, str) else None


def execution_count_of(content: Dict[str, Any]) -> Optional[int]:
    """Return the number at the prompt, if it is one that a notebook may hold."""
    count = content.get("execution_count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _text(value: object, default: str = "") -> str:
    return value if isinstance(value, str) else default


def _rich(output_type: str, content: Dict[str, Any]) -> Dict[str, Any]:
    data, metadata = content.get("data"), content.get("metadata")
    output: Dict[str, Any] = {
        "output_type": output_type,
        "data": {kind: _data(kind, value) for kind, value in data.items()} if isinstance(data, dict) else {},
        "metadata": metadata if isinstance(metadata, dict) else {},
    }
    if output_type == "execute_result":
        output["execution_count"] = execution_count_of(content)
    return output


def _data(kind: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value that a notebook may hold: JSON under a type that is JSON, text or lines of it under every other."""
    lines = value if isinstance(value, list) else [value]
    if kind == "application/json" or kind.endswith("+json") or all(isinstance(line, str) for line in lines):
        return value
    return json.dumps(value)


def _error(content: Dict[str, Any]) -> Dict[str, Any]:
    traceback = content.get("traceback")
    return {
        "output_type": "error",
        "ename": _text(content.get("ename")),
        "evalue": _text(content.get("evalue")),
        "traceback": [line for line in traceback if isinstance(line, str)] if isinstance(traceback, list) else [],
    }
