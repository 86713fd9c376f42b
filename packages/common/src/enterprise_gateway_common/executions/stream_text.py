"""The text of a stream as a terminal, and so a notebook, shows it.

A carriage return and a backspace move a cursor, and what follows overwrites what stands there.
"""

import re
from typing import List

__all__ = ["StreamText"]

_MOVES = re.compile("([\r\b\n])")
# As on a terminal, that wraps lines: a cursor doesn't come back to what stands above. It also bounds what a write costs.
_LONGEST_LINE = 64 * 1024


class StreamText:
    """Takes text piece by piece; how it was cut into pieces changes nothing.

    The cursor never leaves the last line, so the lines before that one are final.
    """

    __slots__ = ("_bytes", "_column", "_done", "_head", "_left_out", "_line", "_line_length")

    def __init__(self) -> None:
        self._head = ""
        self._left_out = 0
        self._done: List[str] = []
        self._line: List[str] = []  # in pieces: a line without end must not be copied for each of them
        self._line_length = 0
        self._column = 0
        self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes of memory that the text takes, at most."""
        return self._bytes

    def write(self, text: str) -> None:
        """Take the next piece."""
        if self._column == self._line_length and "\r" not in text and "\b" not in text:
            self._bytes += _bytes_of(text)
            finished, newline, line = text.rpartition("\n")
            if newline:
                self._done += [*self._line, finished, newline]
                self._line, self._line_length = [], 0
            self._line.append(line)
            self._line_length += len(line)
            self._column = self._line_length
        else:
            self._overwrite(text)

    def _overwrite(self, text: str) -> None:
        if self._line_length > _LONGEST_LINE:
            self._done += self._line
            self._line, self._line_length, self._column = [], 0, 0
        before = "".join(self._line)
        line, column = list(before), self._column
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
        self._bytes -= sum(map(_bytes_of, self._line))
        self._begin_line("".join(line), column)
        if finished:
            self._done.append("".join(finished))
            self._bytes += _bytes_of(self._done[-1])

    def _begin_line(self, line: str, column: int) -> None:
        self._line, self._line_length, self._column = [line], len(line), column
        self._bytes += _bytes_of(line)

    def cut(self, most_bytes: int) -> bool:
        """Leave out what stands in the middle until the text takes at most so many bytes; tell whether anything had to go.

        The beginning that is kept the first time is kept for good; behind it stand the newest lines.
        """
        if self.size <= most_bytes:
            return False
        text = self._tail
        kept = most_bytes // 2 // (_bytes_of(text) // len(text) if text else 1)
        if not self._left_out:
            self._head, text = text[:kept], text[kept:]
        tail = text[max(0, len(text) - kept) :]
        self._left_out += len(text) - len(tail)
        finished, newline, line = tail.rpartition("\n")
        self._done = [finished + newline]
        self._bytes = _bytes_of(self._head) + _bytes_of(self._done[0])
        self._begin_line(line, max(0, self._column - (self._line_length - len(line))))
        return True

    @property
    def _tail(self) -> str:
        return "".join([*self._done, *self._line])

    def __str__(self) -> str:
        """Return the text, with a line that says how much of it was left out."""
        if not self._left_out:
            return self._tail
        return f"{self._head}\n[… {self._left_out} characters left out …]\n{self._tail}"


def _bytes_of(text: str) -> int:
    # Python stores what isn't ASCII in up to four bytes a character; to look for how many would take as long as the text.
    return len(text) * (1 if text.isascii() else 4)
