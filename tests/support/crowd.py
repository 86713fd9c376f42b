"""Many clients that connect at the same moment, as they do after a restart of the gateway or a lost network.

Each is a bare stream that never decodes a message, so that a thousand of them leave the machine to what is measured or tested.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import struct
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from tests.support.messages import encode_legacy, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

__all__ = ["Crowd", "ReturningCrowd"]

_CHUNK = 1 << 16
_OVERLAP = 64
_AGAIN_SECONDS = 1.0
_RETURN_SECONDS = 0.25
_CLOSE = 0x8
_LONGER = {126: 2, 127: 8}  # bytes of a length that doesn't fit into seven bits


def _question() -> bytes:
    """Return the frame of a question to the kernel."""
    text = encode_legacy(request("shell", "kernel_info_request", {}, session=uuid.uuid4().hex))
    # A mask of zeros changes nothing.
    return b"\x81\xfe" + struct.pack("!H", len(text)) + bytes(4) + text.encode()


@dataclass(kw_only=True)
class Crowd:
    """Clients of some kernels, all at once.

    Parameters
    ----------
    url, headers
        The gateway, and what every request carries.
    """

    url: str
    headers: Mapping[str, str]
    statuses: list[str] = field(default_factory=list)
    """What each try to open a websocket was answered with."""
    _writers: list[asyncio.StreamWriter] = field(default_factory=list, init=False)
    _readers: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    async def connect(self, kernel_ids: Sequence[str], count: int, *, within: float) -> float:
        """Open websockets, coming again where the gateway asks for that; return after how many seconds each kernel had answered.

        Raises
        ------
        TimeoutError
            Some have none in time; with how many have, and what all were answered with.
        """
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(within):
                await asyncio.gather(*(self._served(kernel_ids[number % len(kernel_ids)]) for number in range(count)))
        except TimeoutError as error:
            answers = dict(Counter(self.statuses))
            raise TimeoutError(f"{len(self._readers)} of {count} are served after {within} s; answers: {answers}") from error
        finally:
            seconds = time.perf_counter() - begun
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.gather(*self._readers, return_exceptions=True)
        return seconds

    async def _served(self, kernel_id: str) -> None:
        where = urlsplit(self.url)
        while True:
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            self._writers.append(writer)
            writer.write(_upgrade(self.url, f"/api/kernels/{kernel_id}/channels", self.headers))
            try:
                status = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
                self.statuses.append(status)
                if status == "101":
                    writer.write(_question())
                    await _answered(reader)
                    self._readers.append(asyncio.create_task(_discard(reader)))
                    return
            except (asyncio.IncompleteReadError, ConnectionError):
                self.statuses.append("closed")
            writer.transport.abort()
            await asyncio.sleep(_AGAIN_SECONDS)


class ReturningCrowd:
    """Clients that stay, each with a session of its own, and come back at once wherever they can when they lose their connection.

    Parameters
    ----------
    urls, headers
        The replicas, all clients at the first one to begin with, and what every request carries.
    kernel_ids, count
        The kernels, and how many clients they have together.
    """

    def __init__(self, *, urls: Sequence[str], headers: Mapping[str, str], kernel_ids: Sequence[str], count: int) -> None:
        self._urls = urls
        self._headers = headers
        self._kernel_ids = kernel_ids
        self._count = count
        self._clients: list[asyncio.Task[None]] = []
        self._served: set[int] = set()
        self._all_served = asyncio.Event()
        self._accepted = 0.0

    async def __aenter__(self) -> Self:
        self._clients = [asyncio.create_task(self._stay(number)) for number in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def forget(self) -> None:
        """Count from now on who is served, and when the first connection is accepted."""
        self._served.clear()
        self._all_served.clear()
        self._accepted = 0.0

    async def served(self, within: float) -> tuple[float, float]:
        """Return when the first connection was accepted, and when the last client had its kernel's answer, by `perf_counter`.

        Raises
        ------
        TimeoutError
            Some have no answer in time; with how many have.
        """
        try:
            async with asyncio.timeout(within):
                await self._all_served.wait()
        except TimeoutError as error:
            raise TimeoutError(f"{len(self._served)} of {self._count} are served after {within} s") from error
        return self._accepted, time.perf_counter()

    async def _stay(self, number: int) -> None:
        kernel_id = self._kernel_ids[number % len(self._kernel_ids)]
        path = f"/api/kernels/{kernel_id}/channels?session_id={uuid.uuid4().hex}"
        for url in itertools.cycle(self._urls):
            where = urlsplit(url)
            try:
                reader, writer = await asyncio.open_connection(where.hostname, where.port)
            except OSError:
                await asyncio.sleep(_RETURN_SECONDS)
                continue
            self._accepted = self._accepted or time.perf_counter()
            try:
                writer.write(_upgrade(url, path, self._headers))
                if b" 101 " not in await reader.readuntil(b"\r\n\r\n"):
                    # It isn't ready, and asks to come again later.
                    await asyncio.sleep(_AGAIN_SECONDS)
                    continue
                writer.write(_question())
                async for opcode, payload in _frames(reader):
                    if b'"kernel_info_reply"' in payload:
                        self._served.add(number)
                        if len(self._served) == self._count:
                            self._all_served.set()
                    elif opcode == _CLOSE:
                        break
            except (asyncio.IncompleteReadError, OSError):
                pass
            finally:
                writer.transport.abort()


def _upgrade(url: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Return the request that opens a websocket."""
    where = urlsplit(url)
    lines = [
        f"GET {where.path}{path} HTTP/1.1",
        f"Host: {where.netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[tuple[int, bytes]]:
    """Yield the opcode and payload of each frame, which no server here splits or masks."""
    while True:
        head = await reader.readexactly(2)
        opcode, length = head[0] & 0x0F, head[1]
        if length in _LONGER:
            length = int.from_bytes(await reader.readexactly(_LONGER[length]))
        yield opcode, await reader.readexactly(length)


async def _answered(reader: asyncio.StreamReader) -> None:
    seen = b""
    while b'"kernel_info_reply"' not in seen:
        chunk = await reader.read(_CHUNK)
        if not chunk:
            raise ConnectionError("the server closed the websocket")
        seen = seen[-_OVERLAP:] + chunk


async def _discard(reader: asyncio.StreamReader) -> None:
    """Read all that comes, as a client does."""
    while await reader.read(_CHUNK):
        pass
