import contextlib
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.session import Session
from jupyter_server.services.kernels.connection.base import deserialize_binary_message, serialize_binary_message

from enterprise_gateway.links.messages import KernelMessage, MalformedMessage
from enterprise_gateway.links.sockets import CHANNELS
from enterprise_gateway.websocket import legacy_frames
from enterprise_gateway.websocket.messages import MOST_PARTS, ClientMessage, InvalidFrame

_PARTS = ("header", "parent_header", "metadata", "content")

# Text that UTF-8 can hold: JSON of a kernel can hold nothing else.
text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(text, children, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(text, json_values, max_size=4)
headers = st.builds(lambda extra, i, t: {**extra, "msg_id": i, "msg_type": t}, json_objects, text, text)
buffer_lists = st.lists(st.binary(max_size=40), max_size=3)


def _raw(*documents: Any, buffers: list[bytes]) -> list[bytes]:
    return [*(json.dumps(d, ensure_ascii=False).encode() for d in documents), *buffers]


@given(headers, json_objects, json_objects, json_objects, buffer_lists, st.sampled_from(CHANNELS))
def test_a_kernel_message_reads_as_jupyter_server_would_send_it(header, parent, metadata, content, buffers, channel):
    frame, binary = legacy_frames.encode(KernelMessage(channel, _raw(header, parent, metadata, content, buffers=buffers)))
    document = {"header": header, "parent_header": parent, "metadata": metadata, "content": content, "channel": channel}
    document |= {"msg_id": header["msg_id"], "msg_type": header["msg_type"]}
    assert binary == bool(buffers)
    if not buffers:
        assert json.loads(frame) == {**document, "buffers": []}
        return
    starts = struct.unpack_from(f"!{len(buffers) + 1}I", frame, 4)
    parts = [frame[a:b] for a, b in zip(starts, [*starts[1:], len(frame)], strict=True)]
    assert json.loads(parts[0]) == document
    assert parts[1:] == buffers
    assert struct.unpack_from("!I", frame) == (len(buffers) + 1,)


def test_a_message_of_a_real_session_is_read_by_jupyter_servers_own_function():
    session = Session(key=b"key")
    sent = session.msg("display_data", {"data": {"text/plain": "Ω"}}, parent=session.msg("execute_request"))
    parts = session.serialize(sent)[2:]
    frame, _ = legacy_frames.encode(KernelMessage("iopub", [*parts, b"\x00buffer"]))
    read = deserialize_binary_message(frame)
    assert {part: read[part] for part in _PARTS} == {part: sent[part] for part in _PARTS}
    assert read["buffers"] == [b"\x00buffer"]


@given(headers, json_objects, json_objects, json_objects, buffer_lists, st.sampled_from(CHANNELS))
def test_what_jupyter_server_would_send_is_read(header, parent, metadata, content, buffers, channel):
    document = {"header": header, "parent_header": parent, "metadata": metadata, "content": content, "channel": channel}
    frame = serialize_binary_message({**document, "buffers": buffers}) if buffers else json.dumps({**document, "buffers": []})
    message = legacy_frames.decode(frame)
    assert (message.channel, message.header.msg_id, message.header.msg_type) == (channel, header["msg_id"], header["msg_type"])
    assert [json.loads(part) for part in message.parts[:4]] == [header, parent, metadata, content]
    assert message.parts[4:] == buffers


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_whatever_a_client_sends_is_a_message_or_an_invalid_frame(frame):
    with contextlib.suppress(InvalidFrame):
        assert isinstance(legacy_frames.decode(frame), ClientMessage)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**32 - 1), max_size=5), st.binary(max_size=60))
def test_offsets_that_lie_are_an_invalid_frame(count, offsets, rest):
    with pytest.raises(InvalidFrame):
        legacy_frames.decode(struct.pack(f"!{len(offsets) + 1}I", count, *offsets) + rest)


def test_a_frame_of_very_many_empty_buffers_is_refused_by_its_count():
    def frame(parts):
        text = b'{"channel": "shell", "header": {"msg_id": "i", "msg_type": "t"}, "content": {}}'
        first = 4 * (parts + 1)
        return struct.pack(f"!{parts + 1}I", parts, first, *[first + len(text)] * (parts - 1)) + text

    assert len(legacy_frames.decode(frame(MOST_PARTS)).parts) == MOST_PARTS + 3
    with pytest.raises(InvalidFrame, match="more than 1024 parts"):
        legacy_frames.decode(frame(MOST_PARTS + 1))


@pytest.mark.parametrize("depth", [900, 5_000, 200_000])
def test_absurd_nesting_is_an_invalid_frame_or_passes_undecoded(depth):
    content = b"[" * depth + b"]" * depth
    try:
        frame = b'{"header":{"msg_id":"","msg_type":""},"content":{"a":%b}}' % content
        assert legacy_frames.decode(frame.decode()).parts[3] == b'{"a":%b}' % content
    except InvalidFrame:
        assert depth > 900


@pytest.mark.parametrize("number", [b"NaN", b'"\\ud83d"'], ids=["NaN", "a lone surrogate"])
def test_what_only_pythons_parser_takes_is_taken(number):
    frame = b'{"channel":"shell","header":{"msg_id":"","msg_type":""},"content":{"a":%b}}' % number
    message = legacy_frames.decode(frame.decode())
    assert json.dumps(json.loads(message.parts[3])) == json.dumps({"a": json.loads(number)})


def test_null_in_place_of_an_optional_part_is_an_empty_object():
    message = legacy_frames.decode('{"header":{"msg_id":"","msg_type":""},"parent_header":null,"metadata":null}')
    assert message.parts[1:] == [b"{}", b"{}", b"{}"]


_GOOD = [b'{"msg_id":"i","msg_type":"t"}', b"{}", b"{}", b"{}"]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (0, b"{}"),
        (0, b'{"msg_id":1,"msg_type":"t"}'),
        (0, b'{"msg_id":"i","msg_type":"t"},"channel":"shell"'),
        (0, b"\xff"),
        (1, b'{},"channel":"shell"'),
        (1, b"[]"),
        (2, b"null"),
        (2, b"[" * 100_000),
        (3, b""),
        (3, b"[]"),
        (3, b'{"a":"\xff\xfe"}'),
    ],
)
def test_a_kernel_message_that_would_break_the_connection_is_refused(part, value):
    parts = list(_GOOD)
    parts[part] = value
    with pytest.raises(MalformedMessage):
        legacy_frames.encode(KernelMessage("iopub", parts))


def test_a_kernel_cannot_put_its_message_on_another_channel():
    parts = [*_GOOD[:3], b'{},"channel":"shell","x":{}']
    frame, _ = legacy_frames.encode(KernelMessage("iopub", parts))
    assert json.loads(frame)["channel"] == "iopub"


def test_ids_are_escaped():
    header = json.dumps({"msg_id": '"\\\n', "msg_type": '"}'}).encode()
    frame, _ = legacy_frames.encode(KernelMessage("shell", [header, *_GOOD[1:]]))
    assert (json.loads(frame)["msg_id"], json.loads(frame)["msg_type"]) == ('"\\\n', '"}')
