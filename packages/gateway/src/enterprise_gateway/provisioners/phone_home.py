"""Takes the connections that older launchers send: each kernel chooses its ports and tells them here, encrypted.

One listener serves all starts at once. A peer that sends nothing, too much or nonsense costs its own connection and
nobody else's; a kernel that no start waits for is refused, and so is what another kernel's pod sends for it.
"""

import asyncio
import base64
import errno
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as key_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway_common.connection import InvalidConnectionInfo, parse_connection_file

__all__ = ["PayloadRefused", "ResponseListener", "make_listener", "send_command"]

_log = logging.getLogger(__name__)

_VERSION = 1
_KEY_BITS = 2048
_AES_KEY_BYTES = 16
_LARGEST_PAYLOAD = 16 * 1024
_PEER_SECONDS = 5.0
_PEERS = 512
_COMMAND_SECONDS = 2.0


class PayloadRefused(ValueError):
    """What a peer sent is no connection of a kernel that somebody waits for; the text is for the log."""


class _Expected(NamedTuple):
    connection: asyncio.Future[dict[str, Any]]
    foreign: Callable[[str], bool]


class ResponseListener:
    """Listens for kernels that tell their connection.

    Parameters
    ----------
    advertised_ip
        The address that pods reach this process by; empty to take one of this machine's own.
    ip
        The address to listen on; empty for the one that is advertised.
    port, retries
        The port, and how many of the following ones may be taken in its place; 0 lets the operating system choose.
    prohibited
        Addresses that are never advertised, or regular expressions that match such addresses as a whole.
    """

    def __init__(
        self,
        *,
        advertised_ip: str = "",
        ip: str = "0.0.0.0",  # noqa: S104  pods of any node connect
        port: int = 8877,
        retries: int = 0,
        prohibited: Sequence[str] = (),
    ) -> None:
        self._advertised_ip = advertised_ip
        self._ip = ip
        self._port = port
        self._retries = retries
        self._prohibited = tuple(map(re.compile, prohibited))
        self._expected: dict[str, _Expected] = {}
        self._server: asyncio.Server | None = None
        self._starting = asyncio.Lock()
        self._peers = 0

    async def start(self) -> None:
        """Begin to listen; does nothing the second time.

        Raises
        ------
        Unavailable
            No port can be had, or no address is known that pods could use.
        """
        async with self._starting:
            if self._server is not None:
                return
            # Both would hold up everybody else for a tenth of a second.
            self._key = await asyncio.to_thread(rsa.generate_private_key, public_exponent=65537, key_size=_KEY_BITS)
            if not self._advertised_ip:
                self._advertised_ip = await asyncio.to_thread(_own_address, self._prohibited)
            self._server = await self._bound()
            self._port = self._server.sockets[0].getsockname()[1]
            _log.info("Listening for kernels that tell their connection", extra={"address": self.response_address})

    async def _bound(self) -> asyncio.Server:
        address, last = self._ip or self._advertised_ip, self._port + self._retries
        for port in range(self._port, last + 1):
            try:
                return await asyncio.start_server(self._serve, address, port, limit=_LARGEST_PAYLOAD)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or port == last:
                    raise Unavailable(
                        f"Kernels can't tell their connection: the gateway can't listen on {address}:{port} ({error.strerror})."
                    ) from error
        raise AssertionError("there is at least one port to try")

    async def stop(self) -> None:
        """Stop listening; whoever still waits is told that nobody comes."""
        if self._server is not None:
            server, self._server = self._server, None
            server.close()
            await server.wait_closed()
        for expected in self._expected.values():
            expected.connection.cancel()

    @property
    def response_address(self) -> str:
        """Where kernels are told to send their connection."""
        return f"[{self._advertised_ip}]:{self._port}" if ":" in self._advertised_ip else f"{self._advertised_ip}:{self._port}"

    @property
    def public_key(self) -> str:
        """What kernels encrypt it with: the key without its PEM frame, as launchers take it."""
        der = self._key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(der).decode()

    def expect(self, kernel_id: str, *, foreign: Callable[[str], bool] = lambda _ip: False) -> asyncio.Future[dict[str, Any]]:
        """Return what will hold the connection of a kernel; give it up by `forget`.

        Parameters
        ----------
        foreign
            Tells whether an address is known to be somebody else's: what comes from there is refused, and the kernel
            itself is still waited for.
        """
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._expected[kernel_id] = _Expected(future, foreign)
        return future

    def forget(self, kernel_id: str) -> None:
        """Wait for a kernel no longer."""
        if expected := self._expected.pop(kernel_id, None):
            expected.connection.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if self._peers >= _PEERS:
            _log.warning("Connection of a kernel refused", extra={"peer": peer[0], "cause": "too many peers at once"})
            writer.close()
            return
        self._peers += 1
        try:
            async with asyncio.timeout(_PEER_SECONDS):
                payload = await _read_all(reader)
            self._take(payload, peer_ip=peer[0])
        except (PayloadRefused, TimeoutError, OSError) as error:
            _log.warning(
                "Connection of a kernel refused", extra={"peer": peer[0], "cause": str(error) or "it sent nothing in time"}
            )
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._peers -= 1

    def _take(self, payload: bytes, *, peer_ip: str) -> None:
        info = self._decrypted(payload)
        kernel_id = info.get("kernel_id")
        expected = self._expected.get(kernel_id) if isinstance(kernel_id, str) else None
        if expected is None or expected.connection.done():
            raise PayloadRefused("no start waits for its kernel id")
        if expected.foreign(peer_ip):
            raise PayloadRefused("it comes from another kernel's pod")
        try:
            connection = parse_connection_file(json.dumps(info))
        except InvalidConnectionInfo as error:
            raise PayloadRefused(str(error)) from None
        command_port = info.get("comm_port")
        if isinstance(command_port, bool) or not isinstance(command_port, int) or not 0 < command_port < 2**16:
            raise PayloadRefused("it names no port for commands")
        # Who asks compares it with the address of the kernel's pod, which this process learns from the cluster only.
        expected.connection.set_result({**connection, "ip": peer_ip})

    def _decrypted(self, payload: bytes) -> dict[str, Any]:
        try:
            message = json.loads(base64.b64decode(payload, validate=True))
            version, sealed = message.get("version"), base64.b64decode(message["conn_info"], validate=True)
            key = self._key.decrypt(base64.b64decode(message["key"], validate=True), key_padding.PKCS1v15())
            info = json.loads(_opened(sealed, key)) if version == _VERSION else None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # Without the cause: it may quote what was sent.
            raise PayloadRefused(f"its payload can't be read ({type(error).__name__})") from None
        if version != _VERSION:
            raise PayloadRefused(f"its payload has not the version {_VERSION}")
        if not isinstance(info, dict):
            raise PayloadRefused("its payload is no object")
        return info


def make_listener(settings: GatewaySettings) -> ResponseListener:
    """Return a listener as the settings want it."""
    return ResponseListener(
        advertised_ip=settings.response_ip,
        ip="0.0.0.0" if settings.response_addr_any else "",  # noqa: S104  where the administrator asks for it
        port=settings.response_port,
        retries=settings.response_port_retries,
        prohibited=settings.prohibited_local_ips,
    )


def _own_address(prohibited: Sequence[re.Pattern[str]]) -> str:
    """Return an address of this machine that others may reach, the first that isn't prohibited."""
    from jupyter_client.localinterfaces import public_ips

    for address in public_ips():
        if not any(pattern.fullmatch(address) for pattern in prohibited):
            return str(address)
    raise Unavailable("Kernels can't tell their connection: no address of the gateway is known; set response_ip.")


def _opened(sealed: bytes, key: bytes) -> bytes:
    if len(key) != _AES_KEY_BYTES:
        raise ValueError("the key has the wrong length")
    # The protocol's own choice; each key is used for one message.
    decryptor = Cipher(algorithms.AES(key), modes.ECB()).decryptor()  # noqa: S305  as above
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(sealed) + decryptor.finalize()) + unpadder.finalize()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    payload = b""
    while chunk := await reader.read(_LARGEST_PAYLOAD):
        payload += chunk
        if len(payload) > _LARGEST_PAYLOAD:
            raise PayloadRefused("its payload is too large")
    return payload


async def send_command(ip: str, port: int, command: Mapping[str, int]) -> bool:
    """Return whether a launcher took a command: `signum` for its kernel, or `shutdown` for itself."""
    try:
        async with asyncio.timeout(_COMMAND_SECONDS):
            _, writer = await asyncio.open_connection(ip, port)
            writer.write(json.dumps(dict(command)).encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return True
