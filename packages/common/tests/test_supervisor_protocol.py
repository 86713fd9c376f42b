"""Messages between gateways and supervisors come out as they went in, and what is none is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enterprise_gateway_common.message_log import Gap, Position
from enterprise_gateway_common.supervisor_protocol import (
    CHANNELS,
    Entry,
    Kind,
    MalformedFrames,
    decode,
    decode_entries,
    decode_page,
    encode,
    encode_entries,
    encode_page,
    position_of,
)

positions = st.builds(Position, st.integers(0, 2**63), st.integers(0, 2**63))
entries = st.builds(
    Entry,
    positions,
    st.sampled_from(CHANNELS),
    st.none() | st.text(),
    st.booleans(),
    st.lists(st.binary(max_size=50), min_size=4, max_size=7),
)
gaps = st.builds(Gap, positions, positions, st.binary(max_size=20))


@given(st.lists(entries, max_size=5))
def test_entries_come_out_as_they_went_in(some):
    assert decode_entries(encode_entries(some)) == some


@given(st.lists(entries | gaps, max_size=5), positions)
def test_a_page_comes_out_as_it_went_in(items, end):
    kind, fields, parts = decode(encode_page(7, items, end))
    assert (kind, fields["id"], position_of(fields["end"])) == (Kind.PAGE, 7, end)
    assert decode_page(fields, parts) == items


def test_fields_and_parts_come_out_as_they_went_in():
    assert decode(encode(Kind.SEND, {"number": 1}, [b"a", b"b"])) == (Kind.SEND, {"number": 1}, [b"a", b"b"])


@pytest.mark.parametrize("frames", [[], [b"hello"], [b"unknown", b"{}"], [b"hello", b"[]"], [b"hello", b"{"]])
def test_what_is_no_message_is_refused(frames):
    with pytest.raises(MalformedFrames):
        decode(frames)


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=5))
def test_whatever_comes_in_place_of_entries_is_refused_and_nothing_else_happens(frames):
    with pytest.raises(MalformedFrames):
        decode_entries([b"entry", *frames])


@pytest.mark.parametrize("items", [None, [None], [[1, 2, 3]], [["a", 2, 3, 4]], 5])
def test_a_page_without_its_parts_is_refused(items):
    with pytest.raises(MalformedFrames):
        decode_page({"items": items}, [])


@pytest.mark.parametrize("value", [None, [1], [1, 2, 3], [-1, 0], ["1", 2], {"number": 1}])
def test_what_is_no_position_is_refused(value):
    with pytest.raises(MalformedFrames):
        position_of(value)
