"""The older way to a connection: the kernel chooses its ports and tells them, encrypted, to the gateway that waits for them.

Needs the `cryptography` package (`pip install kernel-launchers[phone-home]`).
"""

import base64
import json
import os
import secrets
import signal
import socket
import time
from contextlib import closing
from types import TracebackType
from typing import Any, Callable, Dict, Optional, Tuple, Type

from kernel_launchers.connection import bind_port
from kernel_launchers.errors import InvalidOptions, LaunchRefused, NotInstalled
from kernel_launchers.options import Options, PortRange
from kernel_launchers.supervisor.loop import READ, Loop, Timer

__all__ = ["CommandListener", "encrypted_payload", "send_connection"]

_PAYLOAD_VERSION = 1
_KEY_BYTES = 16
_CONNECT_SECONDS = 5.0
_TRIES = 5
_PAUSE_SECONDS = 1.0
_COMMAND_SECONDS = 2.0
_LONGEST_COMMAND = 4096


def send_connection(options: Options, info: Dict[str, Any], *, command_port: int) -> None:
    """Tell the gateway the connection of this kernel.

    Raises
    ------
    LaunchRefused
        The gateway's address is none, or it can't be reached in several tries.
    """
    address = _address(options.response_address or "")
    told = {**info, "kernel_id": options.kernel_id, "pid": os.getpid(), "pgid": os.getpgrp(), "comm_port": command_port}
    payload = encrypted_payload(told, options.public_key)
    for attempt in range(1, _TRIES + 1):
        try:
            with closing(socket.create_connection(address, timeout=_CONNECT_SECONDS)) as connection:
                connection.sendall(payload)
        except OSError as error:  # noqa: PERF203  five tries
            if attempt == _TRIES:
                raise LaunchRefused(f"the gateway at {options.response_address} can't be reached: {error}") from error
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _address(text: str) -> Tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidOptions("--response-address must be host:port")
    return host.strip("[]"), int(port)


def encrypted_payload(info: Dict[str, Any], public_key: str) -> bytes:
    """Return what is sent: the information under a key of its own, and that key under the gateway's."""
    try:
        from cryptography.hazmat.primitives import padding, serialization
        from cryptography.hazmat.primitives.asymmetric import padding as key_padding
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError as error:
        raise NotInstalled(
            "the gateway wants to be told the connection, which needs the cryptography package in the image"
        ) from error
    try:
        gateway_key = serialization.load_der_public_key(base64.b64decode(public_key, validate=True))
    except ValueError as error:
        raise InvalidOptions("--public-key is not a public key") from error
    if not isinstance(gateway_key, RSAPublicKey):
        raise InvalidOptions("--public-key is not an RSA key")
    own_key = secrets.token_bytes(_KEY_BYTES)
    padder = padding.PKCS7(128).padder()
    padded = padder.update(json.dumps(info).encode()) + padder.finalize()
    # The protocol's own choice; the key is used for this one message.
    encryptor = Cipher(algorithms.AES(own_key), modes.ECB()).encryptor()  # noqa: S305  as above
    message = {
        "version": _PAYLOAD_VERSION,
        "key": base64.b64encode(gateway_key.encrypt(own_key, key_padding.PKCS1v15())).decode(),
        "conn_info": base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode(),
    }
    return base64.b64encode(json.dumps(message).encode())


class CommandListener:
    """Takes the gateway's signals for the kernel; whatever else connects is answered with nothing and forgotten."""

    def __init__(self, loop: Loop, send_signal: Callable[[int], None], *, port_range: PortRange) -> None:
        self._loop = loop
        self._send_signal = send_signal
        self._socket = bind_port(port_range)
        self._socket.setblocking(False)
        self._socket.listen()
        self._connections: Dict[socket.socket, Timer] = {}
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> "CommandListener":  # noqa: PYI034  Self is newer than the oldest Python here
        self._loop.watch(self._socket.fileno(), READ, self._accept)
        return self

    def __exit__(
        self, _type: Optional[Type[BaseException]], _value: Optional[BaseException], _traceback: Optional[TracebackType]
    ) -> None:
        for connection in list(self._connections):
            self._hang_up(connection)
        self._close()

    def _close(self) -> None:
        if self._socket.fileno() >= 0:  # a command may have closed it already
            self._loop.forget(self._socket.fileno())
            self._socket.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:  # who knocked has left
            return
        connection.setblocking(False)
        self._connections[connection] = self._loop.call_later(_COMMAND_SECONDS, lambda: self._hang_up(connection))
        self._loop.watch(connection.fileno(), READ, lambda: self._obey(connection))

    def _hang_up(self, connection: socket.socket) -> None:
        self._connections.pop(connection).cancel()
        self._loop.forget(connection.fileno())
        connection.close()

    def _obey(self, connection: socket.socket) -> None:
        try:
            command = json.loads(connection.recv(_LONGEST_COMMAND) or b"{}")
        except (OSError, ValueError):
            # A port scan or a mesh's probe; the next command must still be heard.
            command = None
        self._hang_up(connection)
        if not isinstance(command, dict):
            return
        signum = command.get("signum")
        if isinstance(signum, int) and not isinstance(signum, bool) and 0 < signum < signal.NSIG:
            self._send_signal(signum)
        if command.get("shutdown"):
            self._close()
