import asyncio
import json
from types import SimpleNamespace

import pytest
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec

from enterprise_gateway.kernels.manager import GatewayKernelManager

INFO = {"transport": "tcp", "ip": "127.0.0.1", "key": b"k", "signature_scheme": "hmac-sha256"}
INFO.update({f"{channel}_port": 1 + number for number, channel in enumerate(("shell", "iopub", "stdin", "control", "hb"))})


class Provisioner(SimpleNamespace):
    """Has a kernel at once."""

    has_process = True

    async def pre_launch(self, **arguments):
        return {"cmd": ["x"], **arguments}

    async def launch_kernel(self, _command, **_arguments):
        self.connection_info = INFO
        return INFO

    async def post_launch(self, **_arguments):
        self.launched = True

    async def shutdown_requested(self, *, restart):
        self.restart = restart


@pytest.fixture
def started(tmp_path):
    """Starts a kernel that runs here or elsewhere, and lets go of it."""
    context = zmq.asyncio.Context()
    managers = []

    async def start(*, runs_here):
        manager = GatewayKernelManager(
            gateway_spec=KernelSpec(argv=["x"]),
            runs_here=runs_here,
            connection_file=str(tmp_path / "kernel.json"),
            context=context,
        )
        manager.provisioner = Provisioner()
        managers.append(manager)
        await manager.start_kernel()
        return manager

    yield start
    for manager in managers:
        manager.detach()
    context.term()


def test_the_connection_of_a_kernel_of_this_machine_is_a_file(started, tmp_path):
    asyncio.run(started(runs_here=True))
    assert json.loads((tmp_path / "kernel.json").read_text())["shell_port"] == INFO["shell_port"]


def test_no_key_of_a_kernel_elsewhere_comes_onto_the_disk(started, tmp_path):
    manager = asyncio.run(started(runs_here=False))
    assert manager.get_connection_info()["shell_port"] == INFO["shell_port"]
    assert [*tmp_path.iterdir()] == []


def test_a_kernel_at_rest_costs_its_manager_no_connection(started):
    async def scenario():
        manager = await started(runs_here=False)
        assert manager.provisioner.launched
        assert manager._control_socket is None
        await manager.request_shutdown(restart=True)
        assert manager.provisioner.restart
        assert manager._control_socket is not None

    asyncio.run(scenario())
