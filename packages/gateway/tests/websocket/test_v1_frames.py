import contextlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1

from enterprise_gateway.links.messages import KernelMessage
from enterprise_gateway.links.sockets import CHANNELS
from enterprise_gateway.websocket import v1_frames
from enterprise_gateway.websocket.messages import MOST_PARTS, ClientMessage, InvalidFrame

raw_parts = st.tuples(*[st.binary(max_size=50)] * 4)
buffer_lists = st.lists(st.binary(max_size=40), max_size=3)
_HEADER = {"msg_id": "i", "msg_type": "t"}
objects = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.integers(), max_size=3)


@given(raw_parts, buffer_lists, st.sampled_from(CHANNELS))
def test_a_frame_is_byte_for_byte_that_of_jupyter_server(parts, buffers, channel):
    frame, binary = v1_frames.encode(KernelMessage(channel, [*parts, *buffers]))
    assert binary
    assert frame == serialize_msg_to_ws_v1([*parts, *buffers], channel)
    assert deserialize_msg_from_ws_v1(frame) == (channel, [*parts, *buffers])


@given(objects, objects, objects, buffer_lists, st.sampled_from(CHANNELS))
def test_what_jupyter_server_would_send_is_read(parent, metadata, content, buffers, channel):
    parts = [*(json.dumps(document).encode() for document in (_HEADER, parent, metadata, content)), *buffers]
    message = v1_frames.decode(serialize_msg_to_ws_v1(parts, channel))
    assert (message.channel, message.header.msg_id, message.parts) == (channel, "i", parts)


@given(st.binary(max_size=200))
def test_whatever_a_client_sends_is_a_message_or_an_invalid_frame(frame):
    with contextlib.suppress(InvalidFrame):
        assert isinstance(v1_frames.decode(frame), ClientMessage)


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**64 - 1), max_size=8), st.binary(max_size=60))
def test_offsets_that_lie_are_an_invalid_frame(count, offsets, rest):
    with pytest.raises(InvalidFrame):
        v1_frames.decode(struct.pack(f"<{len(offsets) + 1}Q", count, *offsets) + rest)


def test_a_frame_of_very_many_empty_buffers_is_refused_by_its_count():
    parts = [json.dumps(_HEADER).encode(), b"{}", b"{}", b"{}"]
    most = MOST_PARTS - 2
    v1_frames.decode(serialize_msg_to_ws_v1([*parts, *[b""] * (most - len(parts))], "shell"))
    with pytest.raises(InvalidFrame, match="more than 1024 parts"):
        v1_frames.decode(serialize_msg_to_ws_v1([*parts, *[b""] * most], "shell"))


@pytest.mark.parametrize(
    "parts",
    [
        [b"{}", b"{}", b"{}", b"{}"],
        [b'{"msg_id":1,"msg_type":"t"}', b"{}", b"{}", b"{}"],
        [b'{"msg_id":"i","msg_type":"t"}', b"[]", b"{}", b"{}"],
        [b'{"msg_id":"i","msg_type":"t"}', b"{}", b"{}", b"{"],
        [b'{"msg_id":"i","msg_type":"t"}', b"{}", b"{}", b'{"a":' + b"[" * 200_000],
        [b"\xff\xfe", b"{}", b"{}", b"{}"],
    ],
)
def test_parts_that_are_no_message_are_an_invalid_frame(parts):
    with pytest.raises(InvalidFrame):
        v1_frames.decode(serialize_msg_to_ws_v1(parts, "shell"))


def test_a_channel_that_is_no_text_is_an_invalid_frame():
    frame = serialize_msg_to_ws_v1([json.dumps(_HEADER).encode(), b"{}", b"{}", b"{}"], "shell").replace(b"shell", b"\xff" * 5)
    with pytest.raises(InvalidFrame):
        v1_frames.decode(frame)


def test_a_text_frame_is_data_of_an_unsupported_kind():
    with pytest.raises(InvalidFrame) as caught:
        v1_frames.decode("{}")
    assert caught.value.code == 1003
