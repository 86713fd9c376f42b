"""What JupyterLab and its extensions ask of a kernel, through the websocket and the kernel's supervisor, on both protocols."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import zmq
from jupyter_client.session import Session
from tests.support.kernel_socket import LEGACY, V1_PROTOCOL, KernelSocket, text_of
from tests.support.messages import request
from tests.support.supervised_kernel import GATEWAY, KEY, SERVER, SupervisedKernel
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from enterprise_gateway.launch.supervisor_address import SupervisorAddress
from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway.websocket.connections import OpenConnections
from enterprise_gateway.websocket.handler import KernelWebsocketHandler
from enterprise_gateway.websocket.options import WebsocketOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.messages import Message

    Connect = Callable[[], KernelSocket]

pytestmark = pytest.mark.timeout(120)

_ID = "the-kernel"


class Everything:
    """Lets everybody in and counts nothing: what of the gateway stands around a websocket."""

    def authenticate(self, request: object) -> object:
        return request

    def authorize(self, *_: object) -> None:
        pass

    def origin_allowed(self, *_: object) -> bool:
        return True

    def check(self, *_: object) -> None:
        pass

    websocket_opened = websocket_closed = connection_opened = connection_closed = message = log_bytes = dropped = check


@dataclass
class Edge:
    """The gateway's websocket edge before one supervised kernel, in a thread of its own."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)
    tls: None = None
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._call(self._open())

    def _call(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _open(self) -> None:
        session, around = Session(key=KEY.encode()), Everything()
        self.kernel_id = _ID
        self.link = KernelLink(
            kernel_id=_ID, context=self._context, session=lambda: session, options=LinkOptions(), metrics=around
        )
        self.link.connect({}, supervisor=SupervisorAddress("127.0.0.1", self.port, SERVER[0], *GATEWAY))
        await self.link.ask_kernel_info()
        await self.link.output_arrives(ask=True)
        self.link.up()
        options = WebsocketOptions()
        self._connections = OpenConnections(limit=options.max_connections, room=around)
        wiring = {
            "kernels": self,
            "access": around,
            "options": options,
            "connections": self._connections,
            "metrics": around,
        }
        self._server = HTTPServer(Application([(r"/api/kernels/([^/]+)/channels", KernelWebsocketHandler, wiring)]))
        (listening,) = bind_sockets(0, "127.0.0.1")
        self._server.add_socket(listening)
        self.websocket_url = f"ws://127.0.0.1:{listening.getsockname()[1]}"

    async def connected(self, kernel_id: str, _: object, *, waits: bool) -> Edge:
        assert (kernel_id, waits) == (_ID, True)
        return self

    def client_connected(self) -> None:
        pass

    client_disconnected = client_connected

    def client_message(self, message_type: str) -> None:
        pass

    def restart(self) -> None:
        """Restart the kernel as the gateway does."""

        async def restart() -> None:
            self.link.restarting(None, in_place=True)
            await self.link.restart(reason=None, now=False)
            await self.link.ask_kernel_info()
            await self.link.output_arrives(ask=True)
            self.link.up()

        self._call(restart())

    def interrupt(self) -> None:
        """Interrupt the kernel as the gateway does."""
        self._call(self.link.interrupt())

    def close(self) -> None:
        async def stop() -> None:
            await self._connections.close_all()
            self._server.stop()
            await self._server.close_all_connections()
            self.link.close()

        self._call(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._context.destroy(linger=0)


@contextmanager
def supervised(folder: Any) -> Iterator[Edge]:
    kernel = SupervisedKernel(folder)
    try:
        edge = Edge(kernel.port)
        try:
            yield edge
        finally:
            edge.close()
    finally:
        kernel.close()


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with supervised(tmp_path_factory.mktemp("supervised")) as edge:
        yield edge


@pytest.fixture(params=[LEGACY, V1_PROTOCOL], ids=["legacy", "v1"])
def connect(request: pytest.FixtureRequest, edge: Edge) -> Iterator[Connect]:
    clients: list[KernelSocket] = []

    def make() -> KernelSocket:
        clients.append(KernelSocket(edge, _ID, protocol=request.param))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(connect: Connect) -> KernelSocket:
    return connect()


def reply(client: KernelSocket, sent: Message) -> dict[str, Any]:
    """Return the content of the reply to a request."""
    return client.wait_for(lambda message: message.type.endswith("_reply") and message.parent == sent.id).content


def idle(sent: Message) -> Callable[[Message], bool]:
    return lambda message: message.parent == sent.id and message.content.get("execution_state") == "idle"


# --------------------------------------------------------------------------------------------------------------- widgets

# What ipywidgets does: the kernel opens a comm with the widget's state, takes in what the page changed, and echoes it.
_WIDGET = """
from comm import create_comm
widget = create_comm(
    target_name="jupyter.widget",
    data={"state": {"value": 1}, "buffer_paths": [["image"]]},
    buffers=[bytes(range(256))],
    metadata={"version": "2.1.0"},
)

def changed(message):
    data = message["content"]["data"]
    value = data["state"]["value"]
    widget.send({"method": "echo_update", "state": {"value": value}, "buffer_paths": [["image"]]},
                buffers=[bytes(part)[::-1] for part in message["buffers"]])
    print("value is", value)

widget.on_msg(changed)
"""


def test_a_widget_shows_its_state_and_takes_in_what_the_page_changes_with_its_buffers(client: KernelSocket) -> None:
    opened = next(message for message in client.run(_WIDGET) if message.type == "comm_open")
    assert (opened.content["target_name"], opened.content["data"]["state"]) == ("jupyter.widget", {"value": 1})
    assert (opened.metadata["version"], opened.buffers) == ("2.1.0", (bytes(range(256)),))
    buffers = (b"\x00\xff\xfe no text", b"", bytes(range(256)) * 300)
    update = {"method": "update", "state": {"value": 42}, "buffer_paths": [["image"], ["none"], ["large"]]}
    comm_id = opened.content["comm_id"]
    sent = client.send("shell", "comm_msg", {"comm_id": comm_id, "data": update}, buffers=buffers)
    heard = [message for message in client.until(idle(sent)) if message.parent == sent.id]
    (echo,) = (message for message in heard if message.type == "comm_msg")
    assert (echo.content["comm_id"], echo.content["data"]["state"]) == (comm_id, {"value": 42})
    assert echo.buffers == tuple(part[::-1] for part in buffers)
    assert text_of(heard) == "value is 42\n"


def test_a_page_that_comes_later_finds_the_widgets_that_there_are(connect: Connect) -> None:
    opened = next(message for message in connect().run(_WIDGET) if message.type == "comm_open")
    later = connect()
    known = reply(later, later.send("shell", "comm_info_request", {"target_name": "jupyter.widget"}))
    assert known["comms"][opened.content["comm_id"]] == {"target_name": "jupyter.widget"}


# -------------------------------------------------------------------------------------------------------------- debugger


class Debugger:
    """A debugger's client, as JupyterLab's is: requests of the Debug Adapter Protocol on the control channel."""

    def __init__(self, client: KernelSocket) -> None:
        self._client = client
        self._sequence = 0
        self.heard: list[Message] = []
        """All that came meanwhile."""

    def until(self, wanted: Callable[[Message], bool]) -> Message:
        """Return the first message that is wanted, heard already or yet to come."""
        for message in self.heard:
            if wanted(message):
                return message
        self.heard += self._client.until(wanted)
        return self.heard[-1]

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Return the body of a request's answer."""
        self._sequence += 1
        content = {"type": "request", "seq": self._sequence, "command": command, "arguments": arguments}
        sent = self._client.send("control", "debug_request", content)
        answer = self.until(lambda message: message.type == "debug_reply" and message.parent == sent.id).content
        assert answer["success"], answer
        return answer.get("body") or {}

    def event(self, name: str) -> dict[str, Any]:
        """Return the body of the first event of a name."""
        return self.until(lambda message: message.type == "debug_event" and message.content["event"] == name).content["body"]


_DEBUGGED = "def double(number):\n    result = number * 2\n    return result\n\nprint(double(21))"


def test_a_debugger_attaches_stops_at_a_breakpoint_shows_its_variables_and_goes_on(client: KernelSocket) -> None:
    debugger = Debugger(client)
    assert not debugger.ask("debugInfo")["isStarted"]
    debugger.ask(
        "initialize", clientID="a-client", adapterID="python", pathFormat="path", linesStartAt1=True, columnsStartAt1=True
    )
    debugger.ask("attach")
    try:
        source = debugger.ask("dumpCell", code=_DEBUGGED)["sourcePath"]
        breakpoints = debugger.ask("setBreakpoints", source={"path": source}, breakpoints=[{"line": 3}], sourceModified=False)
        assert [one["verified"] for one in breakpoints["breakpoints"]] == [True]
        debugger.ask("configurationDone")
        cell = client.execute(_DEBUGGED)
        stopped = debugger.event("stopped")
        assert stopped["reason"] == "breakpoint"
        frame = debugger.ask("stackTrace", threadId=stopped["threadId"])["stackFrames"][0]
        assert (frame["name"], frame["line"]) == ("double", 3)
        scope = debugger.ask("scopes", frameId=frame["id"])["scopes"][0]
        variables = debugger.ask("variables", variablesReference=scope["variablesReference"])["variables"]
        assert {one["name"]: one["value"] for one in variables}["result"] == "42"
        debugger.ask("continue", threadId=stopped["threadId"])
        debugger.until(idle(cell))
        assert text_of([message for message in debugger.heard if message.parent == cell.id]) == "42\n"
    finally:
        debugger.ask("disconnect", restart=False, terminateDebuggee=False)


# ------------------------------------------------------------------------------------------- beside a cell that runs


def in_subshell(client: KernelSocket, subshell: str, code: str) -> Message:
    """Send a cell to a subshell."""
    sent = request("shell", "execute_request", {"code": code, "silent": False, "allow_stdin": False}, session=client.session)
    sent.header["subshell_id"] = subshell
    client.send_message(sent)
    return sent


def test_a_subshell_answers_while_the_main_shell_is_at_work(client: KernelSocket) -> None:
    subshell = reply(client, client.send("control", "create_subshell_request", {}))["subshell_id"]
    listed = reply(client, client.send("control", "list_subshell_request", {}))
    assert subshell in listed["subshell_id"]
    cell = client.execute("import threading\ngate = threading.Event()\nprint('waits', flush=True)\nprint(gate.wait(60))")
    client.wait_for(lambda message: message.type == "stream" and message.parent == cell.id)
    beside = in_subshell(client, subshell, "print('beside')\ngate.set()")
    at_work = {cell.id, beside.id}

    def over(message: Message) -> bool:
        if message.content.get("execution_state") == "idle":
            at_work.discard(message.parent or "")
        return not at_work

    heard = list(client.until(over))
    texts = {sent.id: text_of([message for message in heard if message.parent == sent.id]) for sent in (cell, beside)}
    assert texts == {cell.id: "True\n", beside.id: "beside\n"}
    deleted = reply(client, client.send("control", "delete_subshell_request", {"subshell_id": subshell}))
    assert deleted["status"] == "ok"


def test_what_a_kernel_uses_is_told_while_a_cell_runs(client: KernelSocket) -> None:
    cell = client.execute("import threading\ngate = threading.Event()\nprint('waits', flush=True)\ngate.wait(60)")
    client.wait_for(lambda message: message.type == "stream" and message.parent == cell.id)
    usage = reply(client, client.send("control", "usage_request", {}))
    assert usage["kernel_memory"] > 1 << 20
    assert usage["pid"] > 0
    client.send("control", "interrupt_request", {})
    client.collect(cell)


def test_a_question_is_asked_of_who_sent_the_cell_and_of_nobody_else(connect: Connect) -> None:
    asker, other = connect(), connect()
    cell = asker.execute("print(input('name? '))", allow_stdin=True)
    asked = asker.wait_for(lambda message: message.channel == "stdin")
    assert (asked.type, asked.content["prompt"], asked.parent) == ("input_request", "name? ", cell.id)
    asker.send("stdin", "input_reply", {"value": "Ada", "status": "ok"})
    assert text_of(asker.collect(cell)) == "Ada\n"
    assert all(message.channel != "stdin" for message in other.until(idle(cell)))


# ----------------------------------------------------------------------------------------------- interrupt and restart

_WAITS = "import threading\nprint('waits', flush=True)\nwhile True: threading.Event().wait(0.05)"


@pytest.mark.parametrize("by", ["the gateway", "a message"])
def test_a_cell_is_interrupted_and_answered(edge: Edge, client: KernelSocket, by: str) -> None:
    cell = client.execute(_WAITS)
    client.wait_for(lambda message: message.type == "stream" and message.parent == cell.id)
    if by == "a message":
        client.send("control", "interrupt_request", {})
    else:
        edge.interrupt()
    replied = next(message for message in client.collect(cell) if message.type == "execute_reply")
    assert replied.content["ename"] == "KeyboardInterrupt"
    assert text_of(client.run("print('on')")) == "on\n"


def test_a_restart_keeps_the_websocket_and_answers_the_cell_that_ran(edge: Edge, client: KernelSocket) -> None:
    client.run("kept = 1")
    cell = client.execute(_WAITS)
    client.wait_for(lambda message: message.type == "stream" and message.parent == cell.id)
    edge.restart()
    replied = next(message for message in client.collect(cell) if message.type == "execute_reply")
    assert replied.content["status"] == "error"
    assert text_of(client.run("print('kept' in globals())")) == "False\n"
