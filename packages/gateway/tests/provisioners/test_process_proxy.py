import pytest

from enterprise_gateway.errors import NotSupported
from enterprise_gateway.provisioners.process_proxy import KUBERNETES, LOCAL, choose
from enterprise_gateway_common.kernelspec_metadata import ProvisionerStanza


def proxy(name):
    return ProvisionerStanza("process_proxy", name, {"image_name": "x"})


def test_a_kernelspec_without_a_stanza_runs_locally():
    assert choose(None) == (LOCAL, {})


@pytest.mark.parametrize("prefix", ["", "enterprise_gateway.services.processproxies.k8s.", "somebody.elses."])
def test_the_class_is_known_by_the_last_part_of_its_path(prefix):
    assert choose(proxy(prefix + "KubernetesProcessProxy")) == (KUBERNETES, {"image_name": "x"})


def test_the_local_class_runs_locally():
    assert choose(proxy("enterprise_gateway.services.processproxies.processproxy.LocalProcessProxy")).name == LOCAL


def test_a_provisioner_is_taken_by_its_name():
    assert choose(ProvisionerStanza("kernel_provisioner", "kubernetes", {})).name == "kubernetes"


def test_a_class_of_another_platform_is_refused_with_the_platforms_name():
    with pytest.raises(NotSupported, match="YarnClusterProcessProxy runs kernels on Hadoop YARN"):
        choose(proxy("x.YarnClusterProcessProxy"))


def test_an_unknown_class_is_named_and_never_imported():
    with pytest.raises(NotSupported, match=r"unknown process proxy, 'os\.system'"):
        choose(proxy("os.system"))


def test_the_provisioner_of_gateway_provisioners_is_ours_where_its_config_fits():
    config = {"image_name": "a/b", "executor_image_name": None, "launch_timeout": 30, "port_range": "0..0"}
    choice = choose(ProvisionerStanza("kernel_provisioner", "kubernetes-provisioner", config))
    assert choice == (KUBERNETES, {"image_name": "a/b", "launch_timeout": 30, "port_range": "0..0"})


def test_a_config_that_cannot_be_followed_is_refused_by_its_key():
    with pytest.raises(
        NotSupported, match="kubernetes-provisioner has a config that can't be followed here: kernel_crd_group, x"
    ):
        choose(ProvisionerStanza("kernel_provisioner", "kubernetes-provisioner", {"x": 1, "kernel_crd_group": "y"}))
