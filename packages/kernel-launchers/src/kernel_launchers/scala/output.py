"""What a JVM writes: text for the notebook, and frames between it that say what isn't text."""

import base64
import codecs
from typing import Callable, List, Tuple

__all__ = ["OutputParser"]

Frame = Tuple[str, List[bytes]]
"""What it is, and what belongs to it."""


class OutputParser:
    """Tells text from frames, however they are cut into pieces.

    Parameters
    ----------
    token
        Begins every frame; nobody else knows it.
    text, frame
        Told of what was read, in its order.
    """

    def __init__(self, *, token: str, text: Callable[[str], None], frame: "Callable[[str, List[bytes]], None]") -> None:
        self._begin = b"\0" + token.encode() + b" "
        self._text = text
        self._frame = frame
        self._rest = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> None:
        """Take in what was read."""
        self._rest += data
        while self._rest:
            start = self._rest.find(self._begin)
            if start < 0:
                kept = _kept(self._rest, self._begin)
                self._tell(self._rest[: len(self._rest) - kept])
                self._rest = self._rest[len(self._rest) - kept :]
                return
            end = self._rest.find(b"\0", start + len(self._begin))
            if end < 0:
                self._tell(self._rest[:start])
                self._rest = self._rest[start:]
                return
            self._tell(self._rest[:start])
            body = self._rest[start + len(self._begin) : end].split(b" ")
            self._rest = self._rest[end + 1 :]
            self._frame(body[0].decode(), [base64.b64decode(part) for part in body[1:]])

    def _tell(self, data: bytes) -> None:
        text = self._decoder.decode(data)
        if text:
            self._text(text)


def _kept(data: bytes, begin: bytes) -> int:
    """Return how many bytes at the end may be the beginning of a frame."""
    for length in range(min(len(begin) - 1, len(data)), 0, -1):
        if begin.startswith(data[-length:]):
            return length
    return 0
