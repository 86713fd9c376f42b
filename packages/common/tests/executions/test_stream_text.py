"""What a terminal shows of a stream, however it is cut into pieces."""

import re

from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway_common.executions.stream_text import StreamText

_PIECES = st.lists(st.text(alphabet="ab😀\r\b\n", max_size=12), max_size=12)


def shown(*pieces: str) -> str:
    text = StreamText()
    for piece in pieces:
        text.write(piece)
    return str(text)


def on_a_terminal(text: str) -> str:
    """One character at a time, as a terminal of unlimited width does."""
    lines: list[list[str]] = [[]]
    column = 0
    for character in text:
        if character == "\n":
            lines.append([])
            column = 0
        elif character == "\r":
            column = 0
        elif character == "\b":
            column = max(0, column - 1)
        else:
            lines[-1][column : column + 1] = [character]
            column += 1
    return "\n".join("".join(line) for line in lines)


@given(_PIECES)
def test_it_is_what_a_terminal_shows(pieces: list[str]) -> None:
    assert shown(*pieces) == on_a_terminal("".join(pieces))


def test_a_progress_bar_is_its_last_state() -> None:
    assert shown(*(f"\r{percent:3}%|{'#' * (percent // 10):10}|" for percent in range(0, 101, 10)), "\n") == "100%|##########|\n"


def test_what_was_longer_shows_behind_what_overwrites_it() -> None:
    assert shown("loading", "\rok") == "okading"


def test_a_line_end_of_windows_is_a_line_end() -> None:
    assert shown("one\r\ntwo\r", "\nthree") == "one\ntwo\nthree"


def test_nothing_comes_back_to_the_beginning_of_an_endless_line() -> None:
    assert shown("x" * 100_000, "\rend") == "x" * 100_000 + "end"


def test_a_text_within_the_bound_is_left_alone() -> None:
    text = StreamText()
    text.write("a" * 100)
    assert not text.cut(100)
    assert str(text) == "a" * 100


def test_beginning_and_end_of_a_long_text_stay_and_what_is_missing_is_counted() -> None:
    text, lines = StreamText(), [f"line {number}\n" for number in range(2000)]
    for line in lines:
        text.write(line)
        if text.size > 4000:
            text.cut(3000)
    left = str(text)
    assert text.size <= 4000
    assert left.startswith("line 0\nline 1\n")
    assert left.endswith("line 1998\nline 1999\n")
    (missing,) = re.findall(r"\n\[… (\d+) characters left out …\]\n", left)
    assert len(re.sub(r"\n\[….*…\]\n", "", left)) + int(missing) == len("".join(lines))


def test_a_line_that_was_cut_is_overwritten_where_it_still_stands() -> None:
    text = StreamText()
    text.write("x" * 1000)
    text.cut(100)
    text.write("\rnew")
    assert str(text).endswith("]\nnew" + "x" * 47)


@given(st.text(min_size=1), st.integers(1, 200))
def test_a_text_is_cut_to_the_bound_whatever_its_characters(piece: str, bound: int) -> None:
    text = StreamText()
    text.write(piece * 100)
    text.cut(bound)
    assert text.size <= bound
