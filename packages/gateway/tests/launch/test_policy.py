import os

import pytest

from enterprise_gateway.errors import PolicyViolation
from enterprise_gateway.launch.policy import Maxima, Policy, PolicyError, PolicyFile, check_request, read_policy

OPEN = Policy(images=("*",), namespaces=("*",), service_accounts=("*",), volume_types=("emptyDir", "nfs"))


def check(request, policy=OPEN):
    check_request(request, policy, gateway_namespace="gateway", gateway_service_account="gateway-sa")


@pytest.mark.parametrize(
    "asked",
    [
        {"KERNEL_UID": "0"},
        {"KERNEL_GID": "0"},
        {"KERNEL_NAMESPACE": "gateway"},
        {"KERNEL_NAMESPACE": "kube-system"},
        {"KERNEL_SERVICE_ACCOUNT_NAME": "gateway-sa"},
        {"KERNEL_VOLUMES": '[{"name": "x", "hostPath": {"path": "/"}}]'},
        {"KERNEL_VOLUMES": '[{"name": "x", "nfs": {}, "hostPath": {"path": "/"}}]'},
        {"KERNEL_VOLUME_MOUNTS": '[{"name": "x", "mountPath": "/a/../b"}]'},
        {"KERNEL_VOLUME_MOUNTS": '[{"name": "x", "mountPath": "/a", "subPath": "../b"}]'},
        {"KERNEL_VOLUME_MOUNTS": '[{"name": "x", "mountPath": "/a", "subPathExpr": "$(X)"}]'},
        {"KERNEL_VOLUME_MOUNTS": '[{"name": "x", "mountPath": "/a", "mountPropagation": "Bidirectional"}]'},
        {"KERNEL_CPUS": "2", "KERNEL_CPUS_LIMIT": "1500m"},
    ],
)
def test_what_no_policy_can_allow_is_refused(make_request, asked):
    with pytest.raises(PolicyViolation):
        check(make_request(**asked))


@pytest.mark.parametrize(
    "asked",
    [
        {"KERNEL_IMAGE": "evil/image"},
        {"KERNEL_NAMESPACE": "team"},
        {"KERNEL_SERVICE_ACCOUNT_NAME": "robot"},
        {"KERNEL_VOLUMES": '[{"name": "x", "nfs": {"server": "s", "path": "/"}}]'},
    ],
)
def test_the_default_policy_refuses_what_an_administrator_has_to_allow(make_request, asked):
    request = make_request(**asked)
    with pytest.raises(PolicyViolation):
        check(request, Policy())
    check(request, OPEN)


def test_the_kernelspecs_own_image_needs_no_permission(make_request):
    check(make_request(KERNEL_IMAGE="elyra/kernel-py:dev"), Policy())


@pytest.mark.parametrize("pattern", ["elyra/kernel-r:*", "docker.io/elyra/*"])
def test_an_image_is_matched_by_its_short_and_by_its_full_name(make_request, pattern):
    check(make_request(KERNEL_IMAGE="elyra/kernel-r:1"), Policy(images=(pattern,)))


def test_more_than_the_maximum_is_refused_as_request_and_as_limit(make_request):
    policy = Policy(maxima=Maxima(memory="2Gi"))
    check(make_request(KERNEL_MEMORY="2048Mi"), policy)
    for variable in ("KERNEL_MEMORY", "KERNEL_MEMORY_LIMIT"):
        with pytest.raises(PolicyViolation, match=f"{variable} may be at most 2Gi"):
            check(make_request(**{variable: "2049Mi"}), policy)


@pytest.mark.parametrize(
    "text", ["imags: [x]", "images: 1", "maxima: {cpus: lots}", "maximum_launch_timeout: 0", "- a", "prohibited_uids: ['0']"]
)
def test_a_policy_that_means_nothing_is_refused(text):
    with pytest.raises(PolicyError):
        read_policy(text)


def test_a_changed_file_takes_effect_and_a_broken_one_leaves_the_last_good_one(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("images: [a]")
    file = PolicyFile(path)
    assert file.current().images == ("a",)
    path.write_text("images: [a, b]")
    assert file.current().images == ("a", "b")
    path.write_text("imags: nothing")
    os.utime(path, ns=(1, 1))
    assert file.current().images == ("a", "b")


def test_a_file_that_cant_be_used_stops_the_start(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("imags: [a]")
    with pytest.raises(PolicyError, match="imags"):
        PolicyFile(path)
