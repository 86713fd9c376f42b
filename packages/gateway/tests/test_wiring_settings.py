import pytest

from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway.wiring_settings import cluster_connection


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kernel_cluster_role": "cluster-admin"}, "kernel_cluster_role"),
        ({"shared_namespace": True, "namespace": "a", "kernel_namespaces": ("b",)}, "kernel_namespaces"),
        ({"prohibited_local_ips": ("[",)}, "prohibited_local_ips"),
        ({"policy_file": "/nonexistent/policy.yaml"}, "policy_file"),
    ],
)
def test_what_no_kernel_could_be_started_with_stops_the_start_and_names_its_setting(change, named):
    with pytest.raises(ValueError, match=named):
        cluster_connection(GatewaySettings(**change), {}, identity="one")
