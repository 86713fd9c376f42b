"""A hop between a program and a real API server that a test can break as servers and networks break.

It speaks HTTPS with a certificate of its own and knows its callers by their tokens, so a program is pointed at it with a
kubeconfig and nothing else. Behind it `kubectl proxy` carries the calls to the cluster of KUBECONFIG, whatever that needs.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import aiohttp
import yaml
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.tls import TlsFiles

__all__ = ["ApiProxy", "Call", "Fault"]

_PASSED_ON = ("Accept", "Content-Type")
_EXPIRED = {
    "type": "ERROR",
    "object": {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version"},
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request of the program."""

    number: int
    """Counted from 1 since the proxy was told to count anew."""
    method: str
    path: str
    query: dict[str, str]

    @property
    def is_watch(self) -> bool:
        """Whether its answer is a stream of changes."""
        return "watch" in self.query


@dataclass(frozen=True, kw_only=True)
class Fault:
    """How one call goes wrong."""

    status: int = 0
    """Answer in place of the server's; 0 resets the connection."""
    retry_after: int | None = None
    after: bool = False
    """Whether the call takes effect first, so that only its answer is lost; a watch has no effect."""
    hang: bool = False
    """Whether it is never answered, until the connection ends."""


@dataclass
class _Watch:
    response: web.StreamResponse
    end: asyncio.Event = field(default_factory=asyncio.Event)


def _no_fault(_call: Call) -> Fault | None:
    return None


class ApiProxy:
    """Passes calls on until it is told otherwise; every attribute may be changed while it runs.

    Attributes
    ----------
    fault
        Decides for each call whether it goes wrong.
    hanging
        Takes calls and answers none, and lets running watches fall silent, as a server that is stopped.
    tokens
        The tokens that it accepts.
    calls
        What was called so far.
    """

    def __init__(self, *, tls: TlsFiles, tokens: set[str]) -> None:
        self.fault: Callable[[Call], Fault | None] = _no_fault
        self.tokens = tokens
        self.calls: list[Call] = []
        self.took_effect = threading.Event()
        """Set when a call took effect whose answer is held back."""
        self._tls = tls
        self._hanging = False
        self._counted_from = 0
        self._watches: list[_Watch] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="API proxy")

    def __enter__(self) -> Self:
        self._upstream = subprocess.Popen(
            ["kubectl", "proxy", "--port=0", "--reject-paths=^$"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        greeting = self._upstream.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", greeting)
        assert found, f"kubectl proxy said {greeting!r}"
        self._target = f"http://127.0.0.1:{found.group(1)}"
        self._thread.start()
        self._in_loop(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._in_loop(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._upstream.terminate()
        self._upstream.communicate()

    # ---------------------------------------------------------------------------------------------- what a test does

    def write_kubeconfig(self, path: Path, token_file: Path) -> Path:
        """Write a kubeconfig for this proxy, with the token that a file holds."""
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(self._tls.authority)}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "proxy",
                    "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "gateway"}}],
                    "clusters": [{"name": "proxy", "cluster": cluster}],
                    "users": [{"name": "gateway", "user": {"tokenFile": str(token_file)}}],
                }
            )
        )
        return path

    def count_anew(self) -> None:
        """Count calls from 1 again, and forget those before."""
        self.calls, self._counted_from = [], 0
        self.took_effect.clear()

    def heal(self) -> None:
        """Pass everything on again; who waited for an answer gets none."""
        self.fault = _no_fault
        self.set_hanging(on=False)

    @property
    def hanging(self) -> bool:
        """Whether nothing is answered."""
        return self._hanging

    def set_hanging(self, *, on: bool) -> None:
        """Answer nothing from now on, or everything again; connections that waited are reset then."""
        was, self._hanging = self._hanging, on
        if was and not on:
            self._in_loop(self._reset_all())

    def reset_connections(self) -> None:
        """Reset every connection, as a server that is killed."""
        self._in_loop(self._reset_all())

    def end_watches(self, *lines: dict) -> None:
        """End every watch in order, after some last lines."""
        self._in_loop(self._end_watches(lines))

    def expire_watches(self) -> None:
        """Tell every watch that it is too old to go on."""
        self.end_watches(_EXPIRED)

    def lists(self) -> int:
        """Return how many lists of pods there have been."""
        return sum(call.method == "GET" and call.path.endswith("/pods") and not call.is_watch for call in self.calls)

    def watches(self) -> list[Call]:
        """Return the watches of pods that were begun."""
        return [call for call in self.calls if call.is_watch and call.path.endswith("/pods")]

    # --------------------------------------------------------------------------------------------- what the proxy does

    def _in_loop(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*map(str, self._tls.server))
        application = web.Application(client_max_size=16 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._serving: dict[asyncio.Task, asyncio.Transport] = {}
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        await self._reset_all()
        await self._runner.cleanup()
        await self._session.close()
        # A transport that was closed is gone a turn of the loop later.
        for _ in range(10):
            await asyncio.sleep(0)

    async def _reset_all(self) -> None:
        serving = dict(self._serving)
        # Those that wait for another call too: closed in order they would wait for the other end's word.
        idle = [connection.transport for connection in self._runner.server.connections if connection.transport is not None]
        for transport in {*serving.values(), *idle}:
            transport.abort()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _end_watches(self, lines: tuple[dict, ...]) -> None:
        for watch in tuple(self._watches):
            for line in lines:
                await watch.response.write(json.dumps(line).encode() + b"\n")
            watch.end.set()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        self._serving[task] = request.transport
        try:
            return await self._answer(request)
        finally:
            del self._serving[task]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._counted_from += 1
        call = Call(number=self._counted_from, method=request.method, path=request.path, query=dict(request.query))
        self.calls.append(call)
        if self._hanging:
            await _silence()
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _status(401, "Unauthorized")
        fault = self.fault(call)
        if fault is None:
            return await (self._pass_on_watch if call.is_watch else self._pass_on)(request)
        if fault.after and not call.is_watch:
            await self._pass_on(request)
            self.took_effect.set()
        if fault.hang:
            await _silence()
        if fault.status == 0:
            request.transport.abort()
            return web.Response()
        return _status(fault.status, "Injected", retry_after=fault.retry_after)

    def _upstream_call(self, request: web.Request, body: bytes):
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        return self._session.request(request.method, self._target + request.raw_path, headers=headers, data=body or None)

    async def _pass_on(self, request: web.Request) -> web.Response:
        async with self._upstream_call(request, await request.read()) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    async def _pass_on_watch(self, request: web.Request) -> web.StreamResponse:
        async with self._upstream_call(request, b"") as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            writer = await response.prepare(request)
            # The library holds them back until there is something to send after them, which may be never.
            writer.send_headers()
            watch = _Watch(response)
            self._watches.append(watch)
            ended = asyncio.ensure_future(watch.end.wait())
            try:
                await self._stream(answer, watch, ended)
            finally:
                ended.cancel()
                self._watches.remove(watch)
            return response

    async def _stream(self, answer: aiohttp.ClientResponse, watch: _Watch, ended: asyncio.Future[bool]) -> None:
        while not watch.end.is_set():
            line = asyncio.ensure_future(answer.content.readline())
            await asyncio.wait({line, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not line.done():
                line.cancel()
                return
            if self._hanging:
                await _silence()
            if not line.result():
                return
            await watch.response.write(line.result())


async def _silence() -> None:
    """Never return; the proxy cancels who waits here when it resets the connections."""
    await asyncio.Event().wait()


def _status(code: int, reason: str, *, retry_after: int | None = None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    body = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": f"injected {code}"}
    return web.json_response(body, status=code, headers=headers)
