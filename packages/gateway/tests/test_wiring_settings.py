import pytest

from enterprise_gateway.metrics import GatewayMetrics
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway.wiring_settings import cluster_connection, edge_of


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kernel_cluster_role": "cluster-admin"}, "kernel_cluster_role"),
        ({"shared_namespace": True, "namespace": "a", "kernel_namespaces": ("b",)}, "kernel_namespaces"),
        ({"prohibited_local_ips": ("[",)}, "prohibited_local_ips"),
        ({"spark_namespace": "a", "namespace": "a"}, "spark_namespace"),
        ({"spark_namespace": "kube-system"}, "spark_namespace"),
        ({"spark_namespace": "b", "kernel_namespaces": ("a", "b")}, "spark_namespace"),
        ({"spark_namespace": "b", "puller_namespaces": ("b",)}, "spark_namespace"),
        ({"policy_file": "/nonexistent/policy.yaml"}, "policy_file"),
    ],
)
def test_what_no_kernel_could_be_started_with_stops_the_start_and_names_its_setting(change, named):
    with pytest.raises(ValueError, match=named):
        cluster_connection(GatewaySettings(**change), {}, identity="one")


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "t\u00f6ken"])
def test_a_token_that_no_header_can_carry_stops_the_start_and_isnt_shown(token):
    with pytest.raises(ValueError, match="auth_token") as raised:
        edge_of(GatewaySettings(auth_token=token), GatewayMetrics(version="1"))
    assert token not in str(raised.value)


def test_the_line_end_of_a_file_is_no_part_of_the_token():
    assert edge_of(GatewaySettings(auth_token="secret\n"), GatewayMetrics(version="1")).access._token == b"secret"


@pytest.mark.parametrize("token", ["", "\n"])
def test_an_empty_token_stops_the_start_where_one_is_required(token):
    assert edge_of(GatewaySettings(auth_token=token), GatewayMetrics(version="1")).access.open
    with pytest.raises(ValueError, match="require_token"):
        edge_of(GatewaySettings(auth_token=token, require_token=True), GatewayMetrics(version="1"))
