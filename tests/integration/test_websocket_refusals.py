"""Websockets that are refused, and frames that are no messages: each hurts nobody but the client that sent it."""

from __future__ import annotations

import json
import struct
import uuid
from typing import TYPE_CHECKING

import pytest
import websocket
from tests.support.kernel_socket import LEGACY, V1_PROTOCOL, KernelSocket, text_of
from tests.support.messages import encode_legacy, encode_v1, request
from websocket import ABNF

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Server

    Connect = Callable[..., KernelSocket]


def _refused(url: str, **options: object) -> int:
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        websocket.create_connection(url, timeout=10, **options)
    return caught.value.status_code


def test_a_websocket_to_an_unknown_kernel_is_refused_with_404(server: Server) -> None:
    assert _refused(f"{server.websocket_url}/api/kernels/{uuid.uuid4()}/channels", header=server.headers) == 404


def test_a_websocket_needs_the_token(server: Server, kernel: str) -> None:
    url = f"{server.websocket_url}/api/kernels/{kernel}/channels"
    assert {_refused(url), _refused(url + "?token=wrong"), _refused(url, header={"Authorization": "token wrong"})} <= {401, 403}
    websocket.create_connection(f"{url}?token={server.token}", timeout=10).close()


@pytest.mark.usefixtures("_ours")
def test_a_page_of_another_origin_cannot_open_a_websocket(server: Server, kernel: str) -> None:
    url = f"{server.websocket_url}/api/kernels/{kernel}/channels?token={server.token}"
    assert _refused(url, origin="https://evil.example") == 403


def _offsets_v1(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def _offsets_legacy(*numbers: int) -> bytes:
    return struct.pack(f"!{len(numbers)}I", *numbers)


_MESSAGE = request("shell", "kernel_info_request", {}, session="bad")
_TEXT, _BINARY = ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY
_NO_MESSAGES = {
    "empty": (LEGACY, _TEXT, b""),
    "no JSON": (LEGACY, _TEXT, b"not json"),
    "a list": (LEGACY, _TEXT, b"[1, 2]"),
    "no header": (LEGACY, _TEXT, b'{"channel": "shell"}'),
    "header of another type": (LEGACY, _TEXT, b'{"channel": "shell", "header": 3, "content": {}}'),
    "deep": (LEGACY, _TEXT, b"[" * 200_000),
    "no channel": (LEGACY, _TEXT, json.dumps({**json.loads(encode_legacy(_MESSAGE)), "channel": None}).encode()),
    "wrong channel": (LEGACY, _TEXT, json.dumps({**json.loads(encode_legacy(_MESSAGE)), "channel": "../etc"}).encode()),
    "iopub": (LEGACY, _TEXT, json.dumps({**json.loads(encode_legacy(_MESSAGE)), "channel": "iopub"}).encode()),
    "legacy: no bytes": (LEGACY, _BINARY, b""),
    "legacy: two bytes": (LEGACY, _BINARY, b"\x00\x01"),
    "legacy: four billion parts": (LEGACY, _BINARY, b"\xff" * 12),
    "legacy: no part": (LEGACY, _BINARY, _offsets_legacy(0)),
    "legacy: offset beyond the end": (LEGACY, _BINARY, _offsets_legacy(2, 12, 4000) + b"{}"),
    "legacy: offsets that run backwards": (LEGACY, _BINARY, _offsets_legacy(3, 30, 20, 16) + b"{}" * 20),
    "v1: text": (V1_PROTOCOL, _TEXT, b"{}"),
    "v1: no bytes": (V1_PROTOCOL, _BINARY, b""),
    "v1: seven bytes": (V1_PROTOCOL, _BINARY, b"\x01" * 7),
    "v1: too many parts": (V1_PROTOCOL, _BINARY, b"\xff" * 16),
    "v1: no part": (V1_PROTOCOL, _BINARY, _offsets_v1(0)),
    "v1: offset beyond the end": (V1_PROTOCOL, _BINARY, _offsets_v1(6, 56, 61, 63, 65, 67, 1 << 60) + b"shell{}{}{}{}"),
    "v1: offsets that run backwards": (V1_PROTOCOL, _BINARY, _offsets_v1(6, 56, 50, 63, 65, 67, 69) + b"shell{}{}{}{}"),
    "v1: wrong channel": (V1_PROTOCOL, _BINARY, encode_v1(_MESSAGE).replace(b"shell{", b"shelf{", 1)),
    "v1: channel is no UTF-8": (V1_PROTOCOL, _BINARY, encode_v1(_MESSAGE).replace(b"shell{", b"\xff\xfe\xff\xfe\xff{", 1)),
    "v1: header is no JSON": (V1_PROTOCOL, _BINARY, encode_v1(_MESSAGE).replace(b'shell{"', b"shell{{", 1)),
}


@pytest.mark.usefixtures("_ours")
@pytest.mark.parametrize("case", _NO_MESSAGES)
def test_a_frame_that_is_no_message_hurts_only_its_own_websocket(
    server: Server, connect: Connect, kernel_pool: list[str], case: str
) -> None:
    protocol, opcode, payload = _NO_MESSAGES[case]
    kernel_id = kernel_pool[1]
    logged = len(server.log)
    neighbour, culprit = connect(kernel_id), connect(kernel_id, protocol=protocol)
    culprit.socket.send(payload, opcode)
    assert text_of(neighbour.run("print('well')")) == "well\n"
    # Ignored or closed, both are in order; a closed one says why in its closing frame.
    reason = _closing_reason(culprit)
    assert reason is None or reason in {1002, 1003, 1007, 1008, 1009}
    assert "Traceback" not in server.log[logged:]


def _closing_reason(client: KernelSocket) -> int | None:
    """Return the code of the closing frame, or nothing where the socket still answers."""
    client.socket.settimeout(10)
    sent = request("shell", "kernel_info_request", {}, session=client.session)
    try:
        client.send_message(sent)
    except OSError:
        return None
    while True:
        opcode, data = client.socket.recv_data(control_frame=True)
        if opcode == ABNF.OPCODE_CLOSE:
            return int(struct.unpack("!H", data[:2])[0])
        if sent.id.encode() in data:
            return None


@pytest.mark.usefixtures("_ours")
def test_text_that_is_no_utf8_closes_its_own_websocket_only(connect: Connect, kernel: str) -> None:
    client = connect(kernel)
    client.socket.send(b"\xff\xfe{}", ABNF.OPCODE_TEXT)
    client.wait_closed()
    assert text_of(connect(kernel).run("print('well')")) == "well\n"
