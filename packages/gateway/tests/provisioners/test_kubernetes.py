import asyncio
import json
import signal
from types import SimpleNamespace

import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from enterprise_gateway.errors import Unavailable
from enterprise_gateway.provisioners.kubernetes import KubernetesProvisioner


@pytest.fixture
def provisioner():
    """A kernel's provisioner whose launcher takes commands at a port that the test chooses."""

    def make(port):
        made = KubernetesProvisioner(kernel_id="k1", kernel_spec=KernelSpec(), parent=AsyncKernelManager())
        made.adopt(SimpleNamespace(connection_info={"ip": "127.0.0.1", "comm_port": port}))
        return made

    return make


async def nobody():
    """Return a port at which nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def test_an_interrupt_that_the_launcher_takes_is_done(provisioner):
    async def scenario():
        heard, ended = asyncio.get_running_loop().create_future(), asyncio.Event()

        async def launcher(reader, writer):
            heard.set_result(json.loads(await reader.read()))
            writer.close()
            await writer.wait_closed()
            ended.set()

        async with await asyncio.start_server(launcher, "127.0.0.1", 0) as server:
            await provisioner(server.sockets[0].getsockname()[1]).send_signal(signal.SIGINT)
            await ended.wait()
        return heard.result()

    assert asyncio.run(scenario()) == {"signum": signal.SIGINT}


def test_an_interrupt_that_is_lost_is_said(provisioner):
    async def scenario():
        with pytest.raises(Unavailable, match="didn't take the interrupt"):
            await provisioner(await nobody()).send_signal(signal.SIGINT)

    asyncio.run(scenario())


def test_a_kernel_that_is_being_ended_ends_though_its_interrupt_is_lost(provisioner):
    async def scenario():
        made = provisioner(await nobody())
        made.parent.shutting_down = True
        await made.send_signal(signal.SIGINT)

    asyncio.run(scenario())
