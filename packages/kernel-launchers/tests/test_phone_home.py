import base64
import json
import os
import signal
import socket
import threading
from contextlib import ExitStack

import pytest
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as key_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from kernel_launchers.connection import own_connection
from kernel_launchers.errors import InvalidOptions
from kernel_launchers.options import read_options
from kernel_launchers.phone_home import CommandListener, encrypted_payload, send_connection
from kernel_launchers.supervisor.loop import Loop


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def go_on(self, seconds):
        self.now += seconds


@pytest.fixture(scope="module")
def gateway_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def public_key(gateway_key):
    der = gateway_key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def decrypted(payload, gateway_key):
    message = json.loads(base64.b64decode(payload))
    assert message["version"] == 1
    key = gateway_key.decrypt(base64.b64decode(message["key"]), key_padding.PKCS1v15())
    decryptor = Cipher(algorithms.AES(key), modes.ECB()).decryptor()  # noqa: S305  the protocol's own choice
    padded = decryptor.update(base64.b64decode(message["conn_info"])) + decryptor.finalize()
    unpadder = padding.PKCS7(128).unpadder()
    return json.loads(unpadder.update(padded) + unpadder.finalize())


def test_only_the_gateway_can_read_what_it_is_told(gateway_key, public_key):
    payload = encrypted_payload({"key": "topsecret"}, public_key)
    assert b"topsecret" not in base64.b64decode(payload)
    assert decrypted(payload, gateway_key) == {"key": "topsecret"}


@pytest.mark.parametrize("key", ["", "%%%", base64.b64encode(b"no key").decode()])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(InvalidOptions):
        encrypted_payload({}, key)


def test_the_gateway_is_told_ports_that_were_free_and_where_commands_are_taken(gateway_key, public_key, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        options = read_options(["--response-address", address, "--public-key", public_key, "--kernel-id", "k"], {})
        path, info = own_connection(options, str(tmp_path))
        sender = threading.Thread(target=send_connection, args=(options, info), kwargs={"command_port": 4242})
        sender.start()
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as stream:
            told = decrypted(stream.read(), gateway_key)
        sender.join()
    assert (told["kernel_id"], told["comm_port"], told["pid"]) == ("k", 4242, os.getpid())
    assert len({told[name] for name in ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")}) == 5
    assert (tmp_path / "connection.json").stat().st_mode & 0o777 == 0o600
    assert path == str(tmp_path / "connection.json")


@pytest.mark.parametrize("noise", [b"", b"GET / HTTP/1.0", b"[]", b'{"signum": true}', b'{"signum": 100000}'])
def test_commands_are_still_heard_after_something_else_connected(noise):
    loop, heard = Loop(), []

    def hear(signum):
        heard.append(signum)
        loop.stop()

    with CommandListener(loop, hear, port_range=(0, 0)) as listener, ExitStack() as stack:
        for message in (noise, b'{"signum": 0}', json.dumps({"signum": int(signal.SIGUSR1)}).encode()):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", listener.port), timeout=5))
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
        loop.run()
    assert heard == [signal.SIGUSR1]


def test_who_connects_and_says_nothing_holds_up_nobody_and_is_sent_away():
    clock, heard = Clock(), []
    loop = Loop(clock=clock)

    def hear(signum):
        # The silent one was taken before: connections are taken in their order.
        heard.append(signum)
        clock.go_on(2.5)
        loop.call_later(0, loop.stop)

    with CommandListener(loop, hear, port_range=(0, 0)) as listener, ExitStack() as stack:
        silent, other = (stack.enter_context(socket.create_connection(("127.0.0.1", listener.port), timeout=5)) for _ in range(2))
        other.sendall(b'{"signum": 10}')
        loop.run()
        assert heard == [10]
        assert silent.recv(1) == b""


def test_a_gateway_that_is_through_can_have_no_command_taken_any_more():
    loop = Loop()
    with CommandListener(loop, lambda _: loop.stop(), port_range=(0, 0)) as listener:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=5) as connection:
            connection.sendall(b'{"signum": 15, "shutdown": 1}')
            loop.run()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", listener.port), timeout=5)
