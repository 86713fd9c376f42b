"""Messages that the gateway itself puts between a kernel's own."""

from typing import Any

from jupyter_client.session import Session

from enterprise_gateway.links.messages import KernelMessage

__all__ = ["clear_output", "status", "stderr", "waiting"]

_NO_PARENT = b"{}"


def status(state: str, *, session: Session) -> KernelMessage:
    """Return an iopub message that says what became of the kernel."""
    return _message("status", {"execution_state": state}, _NO_PARENT, session)


def stderr(text: str, *, session: Session, parent: bytes = _NO_PARENT) -> KernelMessage:
    """Return an iopub message that shows as a line of error output; below the cell of `parent`, a raw parent header."""
    return _message("stream", {"name": "stderr", "text": text + "\n"}, parent, session)


def waiting(text: str, *, session: Session, parent: bytes) -> KernelMessage:
    """Return an iopub message that shows as a line below the cell of `parent`, a raw parent header."""
    content = {"data": {"text/plain": text}, "metadata": {}, "transient": {}}
    return _message("display_data", content, parent, session)


def clear_output(*, session: Session, parent: bytes, wait: bool = False) -> KernelMessage:
    """Return an iopub message that takes away what is shown below the cell of `parent`, at once or with its next output."""
    return _message("clear_output", {"wait": wait}, parent, session)


def _message(kind: str, content: dict[str, Any], parent: bytes, session: Session) -> KernelMessage:
    return KernelMessage("iopub", [session.pack(session.msg_header(kind)), parent, b"{}", session.pack(content)])
