"""The text of a stream as a terminal, and so a notebook, shows it.

A carriage return and a backspace move a cursor, and what follows overwrites what stands there.
"""

import re
from typing import List

__all__ = ["StreamText"]

_MOVES = re.compile("([\r\b\n])")


class StreamText:
    """Takes text piece by piece; how it was cut into pieces changes nothing.

    The cursor never leaves the last line, so the lines before that one are final.
    """

    __slots__ = ("_column", "_done", "_done_bytes", "_head", "_left_out", "_line")

    def __init__(self) -> None:
        self._head = ""
        self._left_out = 0
        self._done: List[str] = []
        self._done_bytes = 0
        self._line = ""
        self._column = 0

    @property
    def size(self) -> int:
        """Bytes of memory that the text takes, at most."""
        return _bytes_of(self._head) + self._done_bytes + _bytes_of(self._line)

    def write(self, text: str) -> None:
        """Take the next piece."""
        if self._column == len(self._line) and "\r" not in text and "\b" not in text:
            finished, newline, line = text.rpartition("\n")
            if newline:
                self._finish(self._line + finished + newline)
                self._line = line
            else:
                self._line += text
            self._column = len(self._line)
        else:
            self._overwrite(text)

    def _overwrite(self, text: str) -> None:
        line, column = list(self._line), self._column
        finished: List[str] = []
        for piece in _MOVES.split(text):
            if piece == "\n":
                finished += [*line, piece]
                line, column = [], 0
            elif piece == "\r":
                column = 0
            elif piece == "\b":
                column = max(0, column - 1)
            elif piece:
                line[column : column + len(piece)] = piece
                column += len(piece)
        if finished:
            self._finish("".join(finished))
        self._line, self._column = "".join(line), column

    def _finish(self, text: str) -> None:
        self._done.append(text)
        self._done_bytes += _bytes_of(text)

    def cut(self, most_bytes: int) -> bool:
        """Leave out what stands in the middle until the text takes at most so many bytes; tell whether anything had to go.

        The beginning that is kept the first time is kept for good; behind it stand the newest lines.
        """
        if self.size <= most_bytes:
            return False
        text = "".join(self._done) + self._line
        kept = most_bytes // 2 // (_bytes_of(text) // len(text) if text else 1)
        if not self._left_out:
            self._head, text = text[:kept], text[kept:]
        tail = text[max(0, len(text) - kept) :]
        self._left_out += len(text) - len(tail)
        finished, newline, line = tail.rpartition("\n")
        self._done, self._done_bytes = [], 0
        if newline:
            self._finish(finished + newline)
        self._column = max(0, self._column - (len(self._line) - len(line)))
        self._line = line
        return True

    def __str__(self) -> str:
        """Return the text, with a line that says how much of it was left out."""
        tail = "".join(self._done) + self._line
        if not self._left_out:
            return tail
        return f"{self._head}\n[… {self._left_out} characters left out …]\n{tail}"


def _bytes_of(text: str) -> int:
    # Python stores what isn't ASCII in up to four bytes a character; to look for how many would take as long as the text.
    return len(text) * (1 if text.isascii() else 4)
