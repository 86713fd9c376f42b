"""CPU time of one kernel message on its way to a client, beside jupyter_server's own code: `python tests/bench/codec.py`."""

from __future__ import annotations

import json
import timeit
from typing import TYPE_CHECKING

from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1

from enterprise_gateway.links.messages import KernelMessage
from enterprise_gateway.links.signing import open_signed
from enterprise_gateway.websocket import legacy_frames, v1_frames

if TYPE_CHECKING:
    from collections.abc import Callable

_SIZES = {"100 B": 100, "10 kB": 10_000, "1 MB": 1_000_000}
_SECONDS = 0.05
_REPEATS = 5


def _frames(session: Session, size: int) -> list[bytes]:
    parent = session.msg("execute_request")["header"]
    kind, content = ("stream", {"name": "stdout", "text": "x" * size})
    if size > 100_000:
        kind, content = "display_data", {"data": {"image/png": "x" * size}, "metadata": {}, "transient": {}}
    message = session.msg(kind, content, parent=parent)
    return session.serialize(message, ident=b"kernel.0.stream.stdout")


def _microseconds(function: Callable[[], object]) -> float:
    timer = timeit.Timer(function)
    number, _ = timer.autorange()
    number = max(1, int(number * _SECONDS / max(timer.timeit(number), 1e-9)))
    return min(timer.repeat(_REPEATS, number)) / number * 1e6


def _ours(codec: Callable[[KernelMessage], object], frames: list[bytes], session: Session, *, trusted: bool) -> float:
    return _microseconds(lambda: codec(KernelMessage("iopub", open_signed(frames, session, trusted=trusted))))


def _theirs_legacy(frames: list[bytes], session: Session) -> float:
    def convert() -> str:
        _, parts = session.feed_identities(frames)
        message = session.deserialize(parts)
        message["channel"] = "iopub"
        return json.dumps(message, default=json_default)

    # The same message again and again would be refused as one that was replayed.
    session.digest_history_size = 0
    return _microseconds(convert)


def _theirs_v1(frames: list[bytes], session: Session) -> float:
    return _microseconds(lambda: serialize_msg_to_ws_v1(session.feed_identities(frames)[1][1:], "iopub"))


def main() -> None:
    """Print the table."""
    session = Session(key=b"k" * 36)
    heads = ("message", "legacy", "v1", "v1, no HMAC", "HMAC alone", "jupyter_server legacy", "jupyter_server v1 (no HMAC)")
    print("microseconds a message")
    print(" | ".join(f"{head:>12}" for head in heads))
    for name, size in _SIZES.items():
        frames = _frames(session, size)
        figures = (
            _ours(legacy_frames.encode, frames, session, trusted=False),
            _ours(v1_frames.encode, frames, session, trusted=False),
            _ours(v1_frames.encode, frames, session, trusted=True),
            _microseconds(lambda frames=frames: session.sign(frames[3:7])),
            _theirs_legacy(frames, session),
            _theirs_v1(frames, session),
        )
        print(
            " | ".join(
                [f"{name:>12}", *(f"{figure:{max(12, len(head))}.1f}" for figure, head in zip(figures, heads[1:], strict=True))]
            )
        )


if __name__ == "__main__":
    main()
