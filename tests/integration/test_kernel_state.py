"""What a kernel is said to be doing, and when it is taken for unused, with requests of every kind beside a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.kernel_socket import KernelSocket
from tests.support.messages import Message, request
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.servers import Server

pytestmark = pytest.mark.usefixtures("_ours")

_WAIT = "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists({gate!r}):\n    time.sleep(0.02)\n"
_TARGET = "from comm import get_comm_manager\nget_comm_manager().register_target('hello', lambda comm, opened: None)"


def _state(server: Server, kernel_id: str) -> str:
    return str(server.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"])


def _is_idle(message: Message) -> bool:
    return message.type == "status" and message.content["execution_state"] == "idle"


def _idle_of(client: KernelSocket, sent: Message) -> None:
    client.wait_for(lambda message: message.parent == sent.id and _is_idle(message))


def _subshell(client: KernelSocket) -> str:
    created = client.send("control", "create_subshell_request", {})
    (reply,) = (message for message in client.collect(created) if message.type == "create_subshell_reply")
    return str(reply.content["subshell_id"])


def _send_in(subshell: str, client: KernelSocket, kind: str, content: dict[str, object]) -> Message:
    message = request("shell", kind, content, session=client.session)
    message.header["subshell_id"] = subshell
    client.send_message(message)
    return message


def _begin(client: KernelSocket, gate: Path) -> Message:
    """Run a cell that goes on until its gate is there."""
    sent = client.execute(_WAIT.format(gate=str(gate)))
    client.wait_for(lambda message: message.type == "stream")
    return sent


def _comm(client: KernelSocket, subshell: str) -> Message:
    return _send_in(subshell, client, "comm_open", {"comm_id": "1", "target_name": "hello", "data": {}})


def _cell(client: KernelSocket, subshell: str) -> Message:
    return _send_in(subshell, client, "execute_request", {"code": "1 + 1", "silent": False})


_BESIDE: dict[str, Callable[[KernelSocket, str], Message]] = {
    "usage": lambda client, _: client.send("control", "usage_request", {}),
    "list of subshells": lambda client, _: client.send("control", "list_subshell_request", {}),
    "new subshell": lambda client, _: client.send("control", "create_subshell_request", {}),
    "debugger": lambda client, _: client.send("control", "debug_request", {"command": "debugInfo", "seq": 1, "type": "request"}),
    "comm": _comm,
    "cell in a subshell": _cell,
}


@pytest.mark.parametrize("beside", _BESIDE)
def test_a_kernel_stays_busy_until_its_cell_ends_whatever_else_ends_meanwhile(
    server: Server, connect: Callable[..., KernelSocket], own_kernel: str, tmp_path: Path, beside: str
) -> None:
    client = connect(own_kernel)
    client.run(_TARGET)
    subshell = _subshell(client)
    cell = _begin(client, tmp_path / "gate")
    _idle_of(client, _BESIDE[beside](client, subshell))
    assert _state(server, own_kernel) == "busy"
    (tmp_path / "gate").touch()
    _idle_of(client, cell)
    wait_until(lambda: _state(server, own_kernel) == "idle")


def test_a_cell_in_a_subshell_keeps_the_kernel_busy_when_the_main_shell_has_ended_its_own(
    server: Server, connect: Callable[..., KernelSocket], own_kernel: str, tmp_path: Path
) -> None:
    client = connect(own_kernel)
    subshell = _subshell(client)
    code = _WAIT.format(gate=str(tmp_path / "gate"))
    beside = _send_in(subshell, client, "execute_request", {"code": code, "silent": False})
    client.wait_for(lambda message: message.type == "stream")
    client.run("1")
    assert _state(server, own_kernel) == "busy"
    client.close()
    with connect(own_kernel) as other:
        other.run("2")
        assert _state(server, own_kernel) == "busy"
        (tmp_path / "gate").touch()
        _idle_of(other, beside)
    wait_until(lambda: _state(server, own_kernel) == "idle")


def test_a_kernel_isnt_culled_in_the_middle_of_a_cell_beside_which_something_ended(
    own_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = own_server(settings={"CULL_IDLE_TIMEOUT": "2", "CULL_INTERVAL": "1"})
    working = server.start_kernel()
    with KernelSocket(server, working) as client:
        _begin(client, tmp_path / "gate")
        _idle_of(client, client.send("control", "usage_request", {}))
    unused = server.start_kernel()
    wait_until(lambda: unused not in server.kernel_ids(), timeout=30)
    assert _state(server, working) == "busy"
    (tmp_path / "gate").touch()
    wait_until(lambda: working not in server.kernel_ids(), timeout=30)


def test_polls_and_reconnects_keep_no_kernel_alive(own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"CULL_IDLE_TIMEOUT": "3", "CULL_INTERVAL": "1", "CULL_CONNECTED": "True"})
    kernel_id = server.start_kernel()

    def poll() -> None:
        with KernelSocket(server, kernel_id) as client:
            client.send("shell", "kernel_info_request", {})
            client.send("shell", "comm_info_request", {})
            client.send("control", "debug_request", {"command": "debugInfo", "seq": 1, "type": "request"})
            _idle_of(client, client.send("control", "usage_request", {}))

    def is_culled() -> bool:
        if kernel_id not in server.kernel_ids():
            return True
        try:
            poll()
        except Exception:
            # It was culled under this client's hands; anything else is a failure.
            if kernel_id in server.kernel_ids():
                raise
        return False

    wait_until(is_culled, timeout=40)


def test_use_keeps_a_connected_kernel_alive(own_server: Callable[..., Server]) -> None:
    server = own_server(settings={"CULL_IDLE_TIMEOUT": "3", "CULL_INTERVAL": "1", "CULL_CONNECTED": "True"})
    used = server.start_kernel()
    unused = server.start_kernel()
    with KernelSocket(server, used) as client:

        def is_culled() -> bool:
            client.run("1")
            return unused not in server.kernel_ids()

        wait_until(is_culled, timeout=40)
        assert used in server.kernel_ids()
