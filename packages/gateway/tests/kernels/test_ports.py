import asyncio
from types import SimpleNamespace

import pytest

from enterprise_gateway.errors import ClusterNotSynced, Forbidden, KernelNotFound
from enterprise_gateway.identity import Identity
from enterprise_gateway.kernels.kernel import ExecutionState
from enterprise_gateway.kernels.lifecycle import KernelLifecycle
from enterprise_gateway.kernels.ports import KernelPorts
from enterprise_gateway.kernels.table import Entry
from enterprise_gateway.launch.proxy_ports import OpenPorts

ALICE, BOB = Identity("alice"), Identity("bob")


@pytest.fixture
def ports(kit, make_kernel):
    kernel = make_kernel("k", "alice")
    kernel.manager.provisioner = SimpleNamespace(open_ports=OpenPorts("10.0.0.1", (4040,), b"secret"))
    kernel.execution_state = ExecutionState.BUSY
    kit.table.add(Entry(kernel, KernelLifecycle))
    return KernelPorts(kernels=kit.kernels)


def test_its_owner_reaches_a_port_that_is_open(ports):
    found = asyncio.run(ports.reach("k", "4040", ALICE))
    assert (found.address, found.port, found.owner, found.secret) == ("10.0.0.1", 4040, "alice", b"secret")


def test_for_another_user_there_is_no_kernel_whatever_the_port(ports):
    for port in ("4040", "4041"):
        with pytest.raises(KernelNotFound):
            asyncio.run(ports.reach("k", port, BOB))


def test_a_port_that_is_not_open_is_named_in_the_refusal_and_bounded(ports):
    with pytest.raises(Forbidden, match=r"^Port 1{16} of kernel k isn't passed on; open are: 4040\."):
        asyncio.run(ports.reach("k", "1" * 500, ALICE))


def test_the_secret_of_a_kernel_that_is_not_known_is_none_only_when_all_are_known(ports, kit, monkeypatch):
    assert ports.secret_of("l") is None

    def not_yet():
        raise ClusterNotSynced("not yet")

    monkeypatch.setattr(kit.kernels, "check_synced", not_yet)
    assert ports.secret_of("k")[1] == b"secret"
    with pytest.raises(ClusterNotSynced):
        ports.secret_of("l")
