import asyncio
import json

import pytest

from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway.wiring_cluster import make_cluster_services


@pytest.fixture
def kubeconfig(tmp_path):
    file = tmp_path / "config"
    parts = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "x", **parts}))
    return str(file)


@pytest.mark.parametrize(
    ("settings", "heard"),
    [
        ({"namespace": "gateway"}, ("gateway",)),
        ({"namespace": "gateway", "puller_namespaces": ("a", "b")}, ("a", "b")),
        ({"namespace": "gateway", "kernel_namespaces": ("kernels",)}, ("gateway",)),
        ({"kernel_namespaces": ("kernels",)}, ("kernels",)),
        ({}, ()),
    ],
)
def test_pullers_are_heard_where_the_gateway_is_unless_a_setting_says_otherwise(kubeconfig, settings, heard):
    async def scenario():
        services = await make_cluster_services(kubeconfig, GatewaySettings(**settings), identity="one")
        await services.stop()
        return services.options.puller_namespaces

    assert asyncio.run(scenario()) == heard
