"""Many clients that connect at the same moment, as they do after a restart of the gateway or a lost network.

Each is a bare stream that never decodes a message, so that a thousand of them leave the machine to what is measured or tested.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.support.messages import encode_legacy, request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Crowd"]

_CHUNK = 1 << 16
_OVERLAP = 64
_AGAIN_SECONDS = 1.0


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
        lines = [
            f"GET {where.path}/api/kernels/{kernel_id}/channels HTTP/1.1",
            f"Host: {where.netloc}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        while True:
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            self._writers.append(writer)
            writer.write("\r\n".join([*lines, "", ""]).encode())
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
