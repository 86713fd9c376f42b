"""A real tornado server with real ipykernels in a thread of its own, and websocket clients of another library."""

import asyncio
import contextlib
import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import websocket
import zmq
from jupyter_client.manager import AsyncKernelManager
from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from enterprise_gateway.errors import Forbidden, KernelNotFound, Unauthenticated
from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway.websocket.connections import OpenConnections
from enterprise_gateway.websocket.handler import KernelWebsocketHandler
from enterprise_gateway.websocket.options import V1_PROTOCOL, WebsocketOptions

_PARTS = ("header", "parent_header", "metadata", "content")


class CountingMetrics:
    """Counts what it is told, under readable names."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def connection_opened(self) -> None:
        self.counts["opened"] += 1

    def connection_closed(self) -> None:
        self.counts["closed"] += 1

    def message(self, direction: str, channel: str) -> None:
        self.counts[f"{direction} {channel}"] += 1

    def log_bytes(self, change: int) -> None:
        self.counts["log bytes"] += change

    def dropped(self, reason: str) -> None:
        self.counts[f"dropped {reason}"] += 1


class ManagedKernel:
    """A real ipykernel behind the protocol that the websocket layer asks for."""

    def __init__(self, context: zmq.Context[Any], options: LinkOptions, metrics: CountingMetrics) -> None:
        self.kernel_id = str(uuid.uuid4())
        self.manager = AsyncKernelManager(kernel_name="python3")
        self.connections = 0
        self.messages: list[str] = []
        self.link = KernelLink(
            kernel_id=self.kernel_id, context=context, session=lambda: self.manager.session, options=options, metrics=metrics
        )

    async def start(self) -> None:
        await self.manager.start_kernel()
        await self.answers()

    async def answers(self) -> None:
        self.link.connect(self.manager.get_connection_info())
        await self.link.ask_kernel_info()
        await self.link.output_arrives(ask=True)
        self.link.up()

    def client_connected(self) -> None:
        self.connections += 1

    def client_disconnected(self) -> None:
        self.connections -= 1

    def client_message(self, message_type: str) -> None:
        self.messages.append(message_type)

    async def restart(self, *, newports: bool, reason: str | None = None) -> None:
        self.link.restarting(reason)
        await self.manager.restart_kernel(now=True, newports=newports)
        await self.answers()

    def die(self, reason: str | None) -> None:
        self.link.dead(reason)

    async def shutdown(self) -> None:
        self.link.close()
        await self.manager.shutdown_kernel(now=True)


class _Access:
    def authenticate(self, request: Any) -> object:
        if request.headers.get("Authorization") == "token wrong":
            raise Unauthenticated("This token isn't known.")
        return "somebody"

    def authorize(self, handler: object, identity: object, request: Any) -> None:
        assert (handler is not None, identity) == (True, "somebody")
        if "unauthorized" in request.arguments:
            raise Forbidden("This installation doesn't allow you to do that.")

    def origin_allowed(self, origin: str | None, request: Any) -> bool:
        return origin in {None, f"http://{request.host}"}


class Boundless:
    """Room for every connection."""

    def check(self):
        pass

    websocket_opened = websocket_closed = check


class Gateway:
    """The websocket layer in a server of its own, in a thread of its own."""

    def __init__(self, options: WebsocketOptions, link_options: LinkOptions) -> None:
        self.metrics = CountingMetrics()
        self.kernels: dict[str, ManagedKernel] = {}
        self.failure: Exception | None = None
        self._link_options = link_options
        self.connections = OpenConnections(limit=options.max_connections, room=Boundless())
        self._options = options
        self._context: zmq.Context[Any] = zmq.Context()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.port = self.call(self._listen)

    async def connected(self, kernel_id: str, identity: object, *, waits: bool) -> ManagedKernel:
        assert identity == "somebody"
        if self.failure is not None:
            raise self.failure
        if kernel_id not in self.kernels:
            raise KernelNotFound(kernel_id)
        return self.kernels[kernel_id]

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function, or an asynchronous one, where the server runs."""

        async def run() -> Any:
            result = function(*arguments)
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    def wait_until(self, condition: Callable[[], object], seconds: float = 20) -> None:
        """Return when the condition is true; it is asked where the server runs."""

        async def wait() -> None:
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.005)

        self.call(wait)

    def start_kernel(self, *, up: bool = True) -> ManagedKernel:
        kernel: ManagedKernel = self.call(lambda: ManagedKernel(self._context, self._link_options, self.metrics))
        if up:
            self.call(kernel.start)
        self.kernels[kernel.kernel_id] = kernel
        return kernel

    def _listen(self) -> int:
        wiring = {
            "kernels": self,
            "access": _Access(),
            "options": self._options,
            "connections": self.connections,
            "metrics": self.metrics,
        }
        self._server = HTTPServer(Application([(r"/api/kernels/([^/]+)/channels", KernelWebsocketHandler, wiring)]))
        (listening,) = bind_sockets(0, "127.0.0.1")
        self._server.add_socket(listening)
        return int(listening.getsockname()[1])

    async def _stop(self) -> None:
        await self.connections.close_all()
        self._server.stop()
        await self._server.close_all_connections()
        for kernel in self.kernels.values():
            await kernel.shutdown()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def close(self) -> None:
        self.call(self._stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._context.destroy(linger=0)


class Client:
    """A websocket as the websocket-client library opens it; frames are made and read by jupyter_server's functions."""

    def __init__(
        self,
        gateway: Gateway,
        kernel_id: str,
        *,
        protocol: str = "",
        session: str | None = None,
        header: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.session = session or uuid.uuid4().hex
        self.protocol = protocol
        self.socket = websocket.create_connection(
            f"ws://127.0.0.1:{gateway.port}/api/kernels/{kernel_id}/channels?session_id={self.session}",
            header={**(header or {}), **({"Sec-WebSocket-Protocol": protocol} if protocol else {})},
            timeout=30,
            **options,
        )

    def send(self, channel: str, kind: str, content: dict[str, Any], buffers: tuple[bytes, ...] = ()) -> str:
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "username": "", "session": self.session, "version": "5.3"}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        if self.protocol == V1_PROTOCOL:
            parts = [json.dumps(message[part]).encode() for part in _PARTS]
            self.socket.send_binary(serialize_msg_to_ws_v1([*parts, *buffers], channel))
        elif buffers:
            self.socket.send_binary(serialize_binary_message({**message, "channel": channel, "buffers": list(buffers)}))
        else:
            self.socket.send(json.dumps({**message, "channel": channel}))
        return str(header["msg_id"])

    def execute(self, code: str, **content: Any) -> str:
        return self.send("shell", "execute_request", {"code": code, "silent": False, "store_history": False, **content})

    def receive(self, timeout: float = 20) -> dict[str, Any]:
        self.socket.settimeout(timeout)
        frame = self.socket.recv()
        assert frame, "the gateway closed the websocket"
        if self.protocol == V1_PROTOCOL:
            channel, parts = deserialize_msg_from_ws_v1(frame)
            message = {name: json.loads(part) for name, part in zip(_PARTS, parts, strict=False)}
            return {**message, "channel": channel, "buffers": parts[4:], "msg_type": message["header"]["msg_type"]}
        return deserialize_binary_message(frame) if isinstance(frame, bytes) else json.loads(frame)

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Return everything up to the first message that is wanted."""
        seen = [self.receive()]
        while not wanted(seen[-1]):
            seen.append(self.receive())
        return seen

    def collect(self, msg_id: str) -> list[dict[str, Any]]:
        """Return what answers a request, up to its reply and its idle status, whichever is later."""
        answers, ends = [], set()
        while len(ends) < 2:
            message = self.receive()
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            answers.append(message)
            if message["msg_type"].endswith("_reply") or message["content"].get("execution_state") == "idle":
                ends.add(message["channel"])
        return answers

    def everything(self) -> list[dict[str, Any]]:
        """Return what arrives until the connection breaks."""
        seen = []
        with contextlib.suppress(OSError, websocket.WebSocketException):
            while True:
                seen.append(self.receive())
        return seen

    def run(self, code: str, **content: Any) -> list[dict[str, Any]]:
        return self.collect(self.execute(code, **content))

    def closing_code(self) -> int:
        """Read until the closing frame and return its code."""
        self.socket.settimeout(20)
        while True:
            # Frame by frame: the library's other calls answer a closing frame, which fails where the other side, having
            # refused to read the rest of a message, is gone.
            frame = self.socket.recv_frame()
            if frame.opcode == websocket.ABNF.OPCODE_CLOSE:
                return int.from_bytes(frame.data[:2], "big")

    def drop(self) -> None:
        """Lose the connection as a network does: no closing frame."""
        self.socket.sock.close()

    def close(self) -> None:
        connection = self.socket.sock
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self.socket.close(timeout=1)
        # The library leaves it open once it has seen a closing frame.
        if connection is not None:
            connection.close()


@pytest.fixture(scope="module")
def gateway_options() -> WebsocketOptions:
    return WebsocketOptions()


@pytest.fixture(scope="module")
def link_options() -> LinkOptions:
    return LinkOptions()


@pytest.fixture(scope="module")
def gateway(gateway_options: WebsocketOptions, link_options: LinkOptions) -> Iterator[Gateway]:
    server = Gateway(gateway_options, link_options)
    yield server
    server.close()


@pytest.fixture(scope="module")
def kernel(gateway: Gateway) -> ManagedKernel:
    return gateway.start_kernel()


@pytest.fixture
def connect(gateway: Gateway, kernel: ManagedKernel) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(*, kernel: ManagedKernel = kernel, **options: Any) -> Client:
        clients.append(Client(gateway, kernel.kernel_id, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    gateway.wait_until(lambda: not gateway.connections)


@pytest.fixture(params=["", V1_PROTOCOL], ids=["legacy", "v1"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def metrics() -> CountingMetrics:
    return CountingMetrics()
