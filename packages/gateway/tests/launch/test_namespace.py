import pytest

from enterprise_gateway.errors import LaunchFailed, PolicyViolation
from enterprise_gateway.launch.namespace import choose_namespace
from enterprise_gateway.launch.request import KernelFacts, recorded_request


def choice(*only, spark_namespace=None, starts_pods=False, of_kernelspec=False, **environment):
    kernel = KernelFacts(
        kernel_id="k1", kernel_name="x", username="ada", language="python", default_image="a/b", starts_pods=starts_pods
    )
    request = recorded_request(kernel=kernel, environment=environment, judged=() if of_kernelspec else environment)
    return choose_namespace(
        request,
        own_namespace="ada-k1",
        only=only,
        default_service_account="runner",
        gateway_namespace="gateway",
        spark_namespace=spark_namespace,
    )


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


# ---------------------------------------------------------------------------------------------- kernels that start pods


def test_a_kernel_that_starts_pods_has_a_namespace_of_its_own_where_others_have():
    made = choice(starts_pods=True)
    assert (made.name, made.create) == ("ada-k1", True)


@pytest.mark.parametrize("only", [(), ("all",), ("first", "second")])
@pytest.mark.parametrize("named", [{}, {"KERNEL_NAMESPACE": "spark"}])
def test_kernels_that_start_pods_run_in_the_namespace_that_is_named_for_them(only, named):
    made = choice(*only, spark_namespace="spark", starts_pods=True, **named)
    assert (made.name, made.create, made.service_account) == ("spark", False, "runner")


@pytest.mark.parametrize("named", [{}, {"KERNEL_NAMESPACE": "all"}])
def test_a_kernel_that_starts_pods_is_refused_where_kernels_share_a_namespace(named):
    with pytest.raises(PolicyViolation, match=r"start pods .*EG_SPARK_NAMESPACE"):
        choice("all", starts_pods=True, **named)


def test_a_kernel_that_starts_pods_is_kept_out_of_namespaces_that_others_share():
    with pytest.raises(PolicyViolation, match="of this kernelspec run in spark only"):
        choice("all", spark_namespace="spark", starts_pods=True, KERNEL_NAMESPACE="all")
    with pytest.raises(LaunchFailed, match="of this kernelspec run in spark only"):
        choice("all", spark_namespace="spark", starts_pods=True, of_kernelspec=True, KERNEL_NAMESPACE="all")


@pytest.mark.parametrize("only", [(), ("all",)])
def test_no_other_kernel_runs_in_the_namespace_of_those_that_start_pods(only):
    with pytest.raises(PolicyViolation, match="only kernels that start pods"):
        choice(*only, spark_namespace="spark", KERNEL_NAMESPACE="spark")


@pytest.mark.parametrize("of_kernelspec", [True, False])
def test_a_namespace_that_was_named_and_allowed_holds_a_kernel_that_starts_pods(of_kernelspec):
    made = choice(starts_pods=True, of_kernelspec=of_kernelspec, KERNEL_NAMESPACE="team", KERNEL_SERVICE_ACCOUNT_NAME="robot")
    assert (made.name, made.create, made.service_account) == ("team", False, "robot")
