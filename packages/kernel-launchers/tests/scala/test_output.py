import base64

import pytest

from kernel_launchers.scala.output import OutputParser


class Told:
    def __init__(self):
        self.all = []
        self.parser = OutputParser(token="secret", text=self.text, frame=lambda kind, parts: self.all.append((kind, parts)))

    def text(self, text):
        if self.all and isinstance(self.all[-1], str):
            self.all[-1] += text
        else:
            self.all.append(text)


def frame(kind, *parts):
    return b"\0secret " + b" ".join([kind.encode(), *map(base64.b64encode, parts)]) + b"\0"


WHOLE = "h\u00e9".encode() + frame("display", b"text/html", b"<b>x</b>") + b"after\n" + frame("end")
EXPECTED = ["h\u00e9", ("display", [b"text/html", b"<b>x</b>"]), "after\n", ("end", [])]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_text_and_frames_are_told_in_their_order_however_they_are_cut(size):
    told = Told()
    for start in range(0, len(WHOLE), size):
        told.parser.feed(WHOLE[start : start + size])
    assert told.all == EXPECTED


def test_what_only_looks_like_a_frame_is_text():
    told = Told()
    told.parser.feed(b"a\0b \0another end\0 c")
    assert told.all == ["a\0b \0another end\0 c"]


def test_text_isnt_held_back_for_a_frame_that_may_come():
    told = Told()
    told.parser.feed(b"prompt? ")
    assert told.all == ["prompt? "]


def test_what_is_no_utf8_is_shown_as_such():
    told = Told()
    told.parser.feed(b"\xffx")
    assert told.all == ["\ufffdx"]
