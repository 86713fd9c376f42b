import asyncio
import base64
import json
import os
import socket
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as key_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.provisioners.phone_home import ResponseListener, send_command
from enterprise_gateway_common.connection import PORTS

INFO = {
    **PORTS,
    "ip": "10.9.9.9",
    "key": "topsecret",
    "transport": "tcp",
    "signature_scheme": "hmac-sha256",
    "kernel_id": "k1",
    "comm_port": 4242,
}


def payload(listener, info, *, version=1, key_bytes=16):
    """Encrypt as launchers do."""
    key = os.urandom(key_bytes)
    public = serialization.load_der_public_key(base64.b64decode(listener.public_key))
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305  the protocol's own choice
    sealed = encryptor.update(padder.update(json.dumps(info).encode()) + padder.finalize()) + encryptor.finalize()
    message = {
        "version": version,
        "key": base64.b64encode(public.encrypt(key, key_padding.PKCS1v15())).decode(),
        "conn_info": base64.b64encode(sealed).decode(),
    }
    return base64.b64encode(json.dumps(message).encode())


async def send(listener, data):
    """Send, end, and return when the listener has closed the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(listener.response_address.rpartition(":")[2]))
    try:
        writer.write(data)
        writer.write_eof()
        await reader.read()
    except ConnectionError:
        pass
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def with_listener(scenario):
    async def run():
        listener = ResponseListener(advertised_ip="127.0.0.1", ip="127.0.0.1", port=0)
        await listener.start()
        try:
            await scenario(listener)
        finally:
            await listener.stop()
            # A transport that was closed is gone a turn of the loop later.
            for _ in range(5):
                await asyncio.sleep(0)

    asyncio.run(run())


def test_a_kernel_that_is_waited_for_is_known_by_the_address_it_really_has():
    async def scenario(listener):
        expected = listener.expect("k1")
        await send(listener, payload(listener, INFO))
        info = await expected
        assert (info["key"], info["ip"], info["comm_port"]) == ("topsecret", "127.0.0.1", 4242)

    with_listener(scenario)


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda listener: payload(listener, {**INFO, "kernel_id": "k2"}), "no start waits"),
        (lambda listener: payload(listener, {**INFO, "kernel_id": ["k1"]}), "no start waits"),
        (lambda listener: payload(listener, {**INFO, "shell_port": 0}), "shell_port"),
        (lambda listener: payload(listener, {**INFO, "comm_port": "x"}), "port for commands"),
        (lambda listener: payload(listener, INFO, version=0), "version"),
        (lambda listener: payload(listener, INFO, key_bytes=32), "can't be read"),
        (lambda listener: payload(listener, [1]), "no object"),
        (lambda _listener: b"", "can't be read"),
        (lambda _listener: b"GET / HTTP/1.0\r\n\r\n", "can't be read"),
        (lambda _listener: base64.b64encode(b"[]"), "can't be read"),
        (lambda _listener: b"A" * 20_000, "too large"),
    ],
)
def test_what_is_no_connection_of_a_waiting_kernel_is_refused_and_the_kernel_is_still_waited_for(make, cause, caplog):
    async def scenario(listener):
        expected = listener.expect("k1")
        await send(listener, make(listener))
        assert not expected.done()
        await send(listener, payload(listener, INFO))
        assert (await expected)["kernel_id"] == "k1"

    with_listener(scenario)
    assert cause in caplog.records[0].cause
    assert "topsecret" not in caplog.text


def test_what_another_kernels_pod_sends_is_refused_and_the_kernel_itself_is_still_waited_for(caplog):
    async def scenario(listener):
        others = {"127.0.0.1"}
        expected = listener.expect("k1", foreign=others.__contains__)
        await send(listener, payload(listener, {**INFO, "key": "forged"}))
        assert not expected.done()
        others.clear()
        await send(listener, payload(listener, INFO))
        assert (await expected)["key"] == "topsecret"

    with_listener(scenario)
    assert "another kernel's pod" in caplog.records[0].cause
    assert "forged" not in caplog.text


def test_a_second_connection_of_a_kernel_is_refused():
    async def scenario(listener):
        expected = listener.expect("k1")
        await send(listener, payload(listener, INFO))
        await send(listener, payload(listener, {**INFO, "key": "forged"}))
        assert (await expected)["key"] == "topsecret"

    with_listener(scenario)


def test_five_hundred_silent_peers_delay_nobody():
    async def scenario(listener):
        port = int(listener.response_address.rpartition(":")[2])
        # Plain sockets: streams of this loop would have to be waited for one by one at its end.
        silent = await asyncio.to_thread(lambda: [socket.create_connection(("127.0.0.1", port)) for _ in range(500)])
        expected = listener.expect("k1")
        async with asyncio.timeout(1):
            await send(listener, payload(listener, INFO))
            await expected
        for peer in silent:
            peer.close()
        # The listener's own tasks end when they see it.
        async with asyncio.timeout(10):
            while listener._peers:
                await asyncio.sleep(0)

    with_listener(scenario)


def test_a_kernel_that_is_given_up_is_refused():
    async def scenario(listener):
        expected = listener.expect("k1")
        listener.forget("k1")
        await send(listener, payload(listener, INFO))
        assert expected.cancelled()

    with_listener(scenario)


def test_a_command_reaches_a_launcher_and_its_absence_is_told():
    async def scenario():
        heard, ended = asyncio.get_running_loop().create_future(), asyncio.Event()

        async def launcher(reader, writer):
            heard.set_result(json.loads(await reader.read()))
            writer.close()
            await writer.wait_closed()
            ended.set()

        server = await asyncio.start_server(launcher, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        assert await send_command("127.0.0.1", port, {"signum": 2})
        assert await heard == {"signum": 2}
        await ended.wait()
        server.close()
        await server.wait_closed()
        assert not await send_command("127.0.0.1", port, {"signum": 2})

    asyncio.run(scenario())


def test_listening_begins_once_and_tells_where(monkeypatch):
    monkeypatch.setattr("jupyter_client.localinterfaces.public_ips", lambda: ["172.17.0.1", "127.0.0.1"])

    async def scenario():
        listener = ResponseListener(ip="127.0.0.1", port=0, prohibited=["172.17.*"])
        await asyncio.gather(listener.start(), listener.start())
        address, key = listener.response_address, listener.public_key
        await listener.start()
        assert (listener.response_address, listener.public_key) == (address, key)
        assert address.startswith("127.0.0.1:")
        await listener.stop()
        await listener.stop()

    asyncio.run(scenario())


def test_without_an_address_that_may_be_told_nobody_is_listened_to(monkeypatch):
    monkeypatch.setattr("jupyter_client.localinterfaces.public_ips", lambda: ["172.17.0.1"])
    with pytest.raises(Unavailable, match="response_ip"):
        asyncio.run(ResponseListener(port=0, prohibited=[r"172\..*"]).start())


@pytest.mark.parametrize(("retries", "found"), [(0, False), (5, True)])
def test_a_port_that_is_taken_is_an_error_or_the_next_one_is_tried(retries, found):
    async def scenario():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            listener = ResponseListener(advertised_ip="127.0.0.1", ip="", port=port, retries=retries)
            if not found:
                with pytest.raises(Unavailable, match=f"127.0.0.1:{port}"):
                    await listener.start()
                return
            await listener.start()
            assert port < int(listener.response_address.rpartition(":")[2]) <= port + retries
            await listener.stop()

    asyncio.run(scenario())


def test_who_waits_when_listening_ends_is_told():
    async def scenario(listener):
        expected = listener.expect("k1")
        await listener.stop()
        assert expected.cancelled()

    with_listener(scenario)
