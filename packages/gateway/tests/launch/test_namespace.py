import pytest

from enterprise_gateway.errors import LaunchFailed, PolicyViolation
from enterprise_gateway.launch.namespace import choose_namespace
from enterprise_gateway.launch.request import KernelFacts, recorded_request


def choice(*only, **environment):
    kernel = KernelFacts(kernel_id="k1", kernel_name="x", username="ada", language="python", default_image="a/b")
    request = recorded_request(kernel=kernel, environment=environment, judged=environment)
    return choose_namespace(request, own_namespace="ada-k1", only=only, default_service_account="runner")


def test_a_kernel_has_a_namespace_of_its_own_where_nobody_says_otherwise():
    made = choice()
    assert (made.name, made.create, made.service_account) == ("ada-k1", True, "default")


def test_a_namespace_that_a_client_names_is_used_and_never_made():
    made = choice(KERNEL_NAMESPACE="team")
    assert (made.name, made.create, made.service_account) == ("team", False, "runner")


@pytest.mark.parametrize("environment", [{}, {"KERNEL_NAMESPACE": "all"}])
def test_all_kernels_run_in_the_namespace_that_they_share(environment):
    made = choice("all", **environment)
    assert (made.name, made.create) == ("all", False)


@pytest.mark.parametrize(("environment", "expected"), [({}, "first"), ({"KERNEL_NAMESPACE": "second"}, "second")])
def test_of_several_namespaces_a_client_names_one_or_gets_the_first(environment, expected):
    made = choice("first", "second", **environment)
    assert (made.name, made.create) == (expected, False)


def test_no_kernel_runs_beside_the_namespace_that_all_share():
    with pytest.raises(PolicyViolation, match="in all only"):
        choice("all", KERNEL_NAMESPACE="team")


def test_an_account_that_a_new_namespace_cant_have_is_refused():
    with pytest.raises(LaunchFailed, match="KERNEL_NAMESPACE"):
        choice(KERNEL_SERVICE_ACCOUNT_NAME="spark")
