"""Draws sequence diagrams as SVG from the part of Mermaid's language that the documentation uses.

Mermaid itself is a program of the browser, which pages would have to load from another host. GitHub draws the same text
by itself, so the pages read well there and here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

__all__ = ["DiagramError", "draw"]

_PARTICIPANT = re.compile(r"participant (\w+)(?: as (.+))?")
_MESSAGE = re.compile(r"(\w+)(-{1,2})>>(\w+): ?(.*)")
_NOTE = re.compile(r"Note over (\w+)(?:,\s*(\w+))?: ?(.*)")

# Measures in the picture's own units, of which a small letter is about six wide.
_LETTER, _LINE, _MARGIN, _HEAD, _LEAST_GAP = 6.2, 15, 12, 34, 90
_SELF_WIDTH, _SELF_HEIGHT = 26, 14


class DiagramError(ValueError):
    """A line of a diagram isn't understood; the text shows it."""


@dataclass
class _Picture:
    places: dict[str, float]
    parts: list[str] = field(default_factory=list)
    y: float = _HEAD + 2 * _MARGIN

    def text(self, x: float, lines: list[str], *, anchor: str = "middle") -> None:
        for line in lines:
            self.y += _LINE
            self.parts.append(f'<text x="{x:g}" y="{self.y - 4:g}" text-anchor="{anchor}">{escape(line)}</text>')

    def message(self, sender: str, dashes: str, receiver: str, lines: list[str]) -> None:
        start, end = self.places[sender], self.places[receiver]
        dashed = ' stroke-dasharray="5 4"' if len(dashes) > 1 else ""
        if sender == receiver:
            self.text(start + 8, lines, anchor="start")
            path = f"M{start:g},{self.y:g} h{_SELF_WIDTH} v{_SELF_HEIGHT} h{4 - _SELF_WIDTH}"
            self.y += _SELF_HEIGHT
        else:
            self.text((start + end) / 2, lines)
            path = f"M{start:g},{self.y:g} H{end - 4 if end > start else end + 4:g}"
        self.parts.append(f'<path d="{path}"{dashed} marker-end="url(#arrow)"/>')
        self.y += _MARGIN

    def note(self, first: str, last: str, lines: list[str]) -> None:
        middle = (self.places[first] + self.places[last]) / 2
        width = max(map(len, lines)) * _LETTER + 2 * _MARGIN
        width = max(width, abs(self.places[last] - self.places[first]) + 2 * _MARGIN)
        top, height = self.y, len(lines) * _LINE + 8
        self.parts.append(f'<rect x="{middle - width / 2:g}" y="{top:g}" width="{width:g}" height="{height:g}" class="note"/>')
        self.text(middle, lines)
        self.y = top + height + _MARGIN

    def loop(self, top: float, words: str, width: float) -> None:
        self.parts.append(
            f'<rect x="4" y="{top:g}" width="{width - 8:g}" height="{self.y - top:g}" stroke-dasharray="2 3"/>'
            f'<text x="12" y="{top + 12:g}" text-anchor="start">{escape(f"loop: {words}")}</text>'
        )
        self.y += _MARGIN


def draw(source: str) -> str:
    """Return the SVG element of a diagram, without an empty line in it.

    Raises
    ------
    DiagramError
        A line isn't of the part of the language that is known here.
    """
    lines = [line.strip() for line in source.splitlines()[1:] if line.strip()]
    people = {match[1]: match[2] or match[1] for line in lines if (match := _PARTICIPANT.fullmatch(line))}
    picture = _Picture(_places(people, lines))
    width = max(picture.places.values()) + _room_at_the_right(people, lines)
    loops: list[tuple[float, str]] = []
    for line in lines:
        if match := _MESSAGE.fullmatch(line):
            picture.message(match[1], match[2], match[3], _split(match[4]))
        elif match := _NOTE.fullmatch(line):
            picture.note(match[1], match[2] or match[1], _split(match[3]))
        elif line.startswith("loop "):
            loops.append((picture.y, line[5:]))
            picture.y += _LINE + 6
        elif line == "end" and loops:
            picture.loop(*loops.pop(), width)
        elif not _PARTICIPANT.fullmatch(line):
            raise DiagramError(f"This line of a diagram isn't understood: {line}")
    return _element(picture, people, width)


def _split(text: str) -> list[str]:
    return re.split(r"<br ?/?>", text)


def _places(people: dict[str, str], lines: list[str]) -> dict[str, float]:
    """Return where each one's line runs: as far from the one before as their names and words need."""
    places, x = {}, 0.0
    for previous, name in pairwise([None, *people]):
        half = len(people[str(name)]) * _LETTER / 2 + _MARGIN
        if previous is None:
            x = half + _MARGIN
        else:
            between = [
                match for line in lines if (match := _MESSAGE.fullmatch(line)) and {match[1], match[3]} <= {previous, name}
            ]
            own = [8 + len(words) for match in between for words in _split(match[4]) if not match[1] == match[3] == name]
            x += max(_LEAST_GAP, len(people[previous]) * _LETTER / 2 + half, max(own, default=0) * _LETTER)
        places[str(name)] = x
    return places


def _room_at_the_right(people: dict[str, str], lines: list[str]) -> float:
    last = [*people][-1]
    own = [
        len(words)
        for line in lines
        if (match := _MESSAGE.fullmatch(line)) and match[1] == match[3] == last
        for words in _split(match[4])
    ]
    over = [
        len(words) / 2 for line in lines if (match := _NOTE.fullmatch(line)) and match[1] == last for words in _split(match[3])
    ]
    return max([len(people[last]) / 2, *own, *over]) * _LETTER + 2 * _MARGIN


def _element(picture: _Picture, people: dict[str, str], width: float) -> str:
    heads = []
    for name, label in people.items():
        x, half = picture.places[name], len(label) * _LETTER / 2 + 6
        heads.append(
            f'<path d="M{x:g},{_HEAD:g} V{picture.y:g}" stroke-opacity="0.4"/>'
            f'<rect x="{x - half:g}" y="6" width="{2 * half:g}" height="{_HEAD - 6}" rx="4"/>'
            f'<text x="{x:g}" y="25" text-anchor="middle">{escape(label)}</text>'
        )
    style = "text{fill:currentColor;stroke:none;font:11px sans-serif}rect.note{fill:currentColor;fill-opacity:0.08}"
    marker = (
        '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="currentColor" stroke="none"/></marker>'
    )
    size = f'viewBox="0 0 {width:g} {picture.y + _MARGIN:g}" style="max-width:{width:g}px;width:100%"'
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} fill="none" stroke="currentColor">'
    return f"<div>{frame}<style>{style}</style><defs>{marker}</defs>{''.join(heads)}{''.join(picture.parts)}</svg></div>\n"
