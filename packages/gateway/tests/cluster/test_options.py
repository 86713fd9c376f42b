import pytest

from enterprise_gateway.cluster.options import cluster_options
from enterprise_gateway.settings import GatewaySettings


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
def test_pullers_are_heard_where_the_gateway_is_unless_a_setting_says_otherwise(settings, heard):
    assert cluster_options(GatewaySettings(**settings)).puller_namespaces == heard
