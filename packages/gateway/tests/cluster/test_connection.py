import asyncio
import gc
from types import SimpleNamespace

import pytest

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.errors import NotSupported


@pytest.fixture
def done(monkeypatch):
    """What opening a connection did, in order; this process keeps its own objects in the collector's sight."""
    happened = []
    monkeypatch.setattr(gc, "freeze", lambda: happened.append("frozen"))
    return happened


def connection(done, *, mode="auto", **environment):
    async def make_services(cluster):
        done.append(f"made for {cluster}")
        options = SimpleNamespace(launch=SimpleNamespace(instance="one"))
        return SimpleNamespace(start=lambda: done.append("started"), options=options)

    return ClusterConnection(mode=mode, kubeconfig=None, environment=environment, make_services=make_services)


def test_who_ask_at_one_time_share_one_connection(done):
    async def scenario():
        opened = connection(done, KUBECONFIG="/a")
        first, second = await asyncio.gather(opened.open(), opened.open())
        assert first is second
        assert opened.connected

    asyncio.run(scenario())
    assert done.count("made for /a") == 1


def test_what_the_connection_is_made_of_is_collected_no_more_and_what_it_brings_is(done):
    asyncio.run(connection(done, KUBECONFIG="/a").open())
    assert done == ["made for /a", "frozen", "started"]


@pytest.mark.parametrize(
    ("environment", "may_exist"),
    [
        ({"mode": "off", "KUBECONFIG": "/a"}, False),
        ({"mode": "auto", "HOME": "/nonexistent"}, False),
        ({"mode": "auto", "KUBECONFIG": "/a"}, True),
        ({"mode": "on", "HOME": "/nonexistent"}, True),
    ],
)
def test_whether_there_may_be_a_cluster_is_known_before_it_is_connected(done, environment, may_exist):
    assert connection(done, **environment).may_exist is may_exist
    assert done == []


@pytest.mark.parametrize("environment", [{"mode": "off", "KUBECONFIG": "/a"}, {"mode": "auto", "HOME": "/nonexistent"}])
def test_without_a_cluster_it_is_said_and_nothing_is_made(done, environment):
    with pytest.raises(NotSupported, match="set KUBECONFIG"):
        asyncio.run(connection(done, **environment).open())
    assert done == []
