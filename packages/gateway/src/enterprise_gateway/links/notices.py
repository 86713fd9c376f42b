"""Messages that the gateway itself puts between a kernel's own."""

from typing import Any

from jupyter_client.session import Session

from enterprise_gateway.links.messages import KernelMessage

__all__ = ["status", "stderr"]

_NO_PARENT = b"{}"


def status(state: str, *, session: Session) -> KernelMessage:
    """Return an iopub message that says what became of the kernel."""
    return _message("status", {"execution_state": state}, _NO_PARENT, session)


def stderr(text: str, *, session: Session, parent: bytes = _NO_PARENT) -> KernelMessage:
    """Return an iopub message that shows as a line of error output; below the cell of `parent`, a raw parent header."""
    return _message("stream", {"name": "stderr", "text": text + "\n"}, parent, session)


def _message(kind: str, content: dict[str, Any], parent: bytes, session: Session) -> KernelMessage:
    return KernelMessage("iopub", [session.pack(session.msg_header(kind)), parent, b"{}", session.pack(content)])
