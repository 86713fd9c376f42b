import asyncio
import socket
from types import SimpleNamespace

import pytest

from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import LaunchTimeout
from enterprise_gateway.provisioners import connection_strategy
from enterprise_gateway.provisioners.connection_strategy import MountedFile, PhoneHome
from enterprise_gateway_common.connection import PORTS

TOLD = {**PORTS, "transport": "tcp", "signature_scheme": "hmac-sha256", "key": "topsecret", "comm_port": 4242}


class Listener:
    """Takes the place of the listener: what is told is the test's to say."""

    response_address, public_key = "10.0.0.1:8877", "key"

    def expect(self, _kernel_id, *, foreign):
        self.foreign, self.told = foreign, asyncio.get_running_loop().create_future()
        return self.told

    def forget(self, _kernel_id):
        self.told.cancel()


class Secrets:
    """The part of a cluster's client that keeps a connection for gateways that come later."""

    async def patch(self, *where_and_what, deadline):
        assert deadline.left() > 0
        self.kept = where_and_what


def services(**pods):
    objects = {name: SimpleNamespace(ip=ip, kernel_id=name) for name, ip in pods.items()}
    return SimpleNamespace(pods=SimpleNamespace(objects=objects), client=Secrets())


@pytest.mark.parametrize(("ip", "foreign"), [("10.1.0.1", False), ("10.1.0.2", True), ("172.16.0.1", False)])
def test_the_address_of_another_kernels_pod_is_foreign_and_one_that_nobody_knows_isnt(ip, foreign):
    async def scenario():
        listener = Listener()
        PhoneHome(services(mine="10.1.0.1", other="10.1.0.2"), listener, kernel_id="mine")
        assert listener.foreign(ip) is foreign

    asyncio.run(scenario())


def test_whoever_tells_a_connection_the_gateway_connects_to_the_kernels_own_pod(caplog):
    async def scenario():
        listener, known = Listener(), services(mine="10.1.0.1")
        told = PhoneHome(known, listener, kernel_id="mine")
        listener.told.set_result({**TOLD, "ip": "6.6.6.6"})
        names = SimpleNamespace(secret="s")
        info = await told.connection(
            SimpleNamespace(ip="10.1.0.1"),
            watch=SimpleNamespace(ended=lambda: asyncio.sleep(60)),
            plan=SimpleNamespace(namespace="home", names=names),
            deadline=Deadline(5),
        )
        assert (info["ip"], info["key"]) == ("10.1.0.1", b"topsecret")
        assert known.client.kept[:3] == ("Secret", "home", "s")
        told.close()

    asyncio.run(scenario())
    assert "another address" in caplog.text
    assert "topsecret" not in caplog.text


def test_a_kernel_that_never_listens_is_said(monkeypatch):
    async def scenario():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            monkeypatch.setattr(connection_strategy, "PORTS", {**PORTS, "shell_port": taken.getsockname()[1]})
            mounted = MountedFile(SimpleNamespace(client=None), None)
            watch = SimpleNamespace(ended=lambda: asyncio.sleep(60))
            await mounted.connection(SimpleNamespace(ip="127.0.0.1"), watch=watch, plan=None, deadline=Deadline(0.2))

    with pytest.raises(LaunchTimeout, match="didn't listen within 0 seconds"):
        asyncio.run(scenario())
