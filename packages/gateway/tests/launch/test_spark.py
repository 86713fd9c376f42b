"""Kernels that start pods of their own: which they are, and what they have that others don't."""

import pytest

from enterprise_gateway.errors import PolicyViolation
from enterprise_gateway.launch.plan import LaunchSettings
from enterprise_gateway.launch.policy import Policy
from enterprise_gateway.launch.spark import starts_pods
from enterprise_gateway.launch.template import Dialect, PodTemplate
from enterprise_gateway.launch.variables import InvalidVariable

DRIVER = {"starts_pods": True}
RUN = "/usr/local/share/jupyter/kernels/spark_python_kubernetes/bin/run.sh"


def variables(plan):
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in plan.pod["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize(
    ("told", "image", "argv", "expected"),
    [
        (None, "", ["launch-kernel", "--kernel-id", "{kernel_id}"], False),
        (None, "elyra/kernel-spark-py:dev", ["launch-kernel"], True),
        (None, "", ["launch-kernel", "--spark-context-initialization-mode", "lazy"], True),
        (None, "", ["launch-kernel", "--spark-context-initialization-mode=eager"], True),
        (None, "", ["launch_kubernetes.py", "--RemoteProcessProxy.spark-context-initialization-mode", "none"], False),
        (None, "", [RUN, "--RemoteProcessProxy.kernel-id", "{kernel_id}"], True),
        (True, "", ["launch-kernel"], True),
        (False, "elyra/kernel-spark-py:dev", ["launch-kernel", "--spark-context-initialization-mode", "lazy"], False),
    ],
)
def test_a_kernelspec_says_by_its_config_or_its_command_that_its_kernels_start_pods(told, image, argv, expected):
    assert starts_pods(told=told, executor_image=image, argv=argv) is expected


def test_only_accounts_of_kernels_that_start_pods_are_given_a_role(make_plan):
    assert make_plan().role_binding is None
    bound = make_plan(facts_of_kernelspec=DRIVER)
    assert bound.role_binding["roleRef"]["name"] == "kernel-controller"
    assert bound.role_binding["subjects"] == [{"kind": "ServiceAccount", "name": "default", "namespace": bound.namespace}]
    assert make_plan(facts_of_kernelspec=DRIVER, settings=LaunchSettings(kernel_cluster_role=None)).role_binding is None


def test_no_variable_of_a_client_makes_a_kernel_one_that_starts_pods(make_plan):
    asked = {"KERNEL_SPARK_CONTEXT_INIT_MODE": "eager", "KERNEL_EXECUTOR_IMAGE": "elyra/kernel-py:dev", "KERNEL_STARTS_PODS": "1"}
    plan = make_plan(**asked)
    assert plan.role_binding is None
    assert plan.pod["spec"]["automountServiceAccountToken"] is False


def test_only_kernels_that_start_pods_get_a_token_unless_their_template_says_otherwise(make_plan):
    assert make_plan().pod["spec"]["automountServiceAccountToken"] is False
    assert make_plan(facts_of_kernelspec=DRIVER).pod["spec"]["automountServiceAccountToken"] is True
    without = PodTemplate("kind: Pod\nspec: {automountServiceAccountToken: false, containers: [{name: a}]}", Dialect.JINJA)
    assert make_plan(facts_of_kernelspec=DRIVER, template=without).pod["spec"]["automountServiceAccountToken"] is False


def test_a_driver_knows_its_pod_its_place_and_its_images_whatever_its_template_and_client_say(make_plan):
    template = PodTemplate(
        "kind: Pod\nspec: {containers: [{name: a, env: [{name: KERNEL_POD_IP, value: x}, {name: KERNEL_IMAGE, value: x}]}]}",
        Dialect.JINJA,
    )
    lies = {"KERNEL_POD_IP": "192.0.2.1", "KERNEL_POD_NAME": "lab"}
    plan = make_plan(facts_of_kernelspec=DRIVER, template=template, image="elyra/kernel-spark-py:dev", **lies)
    told = variables(plan)
    assert len(plan.pod["spec"]["containers"][0]["env"]) == len(told)
    assert told["KERNEL_POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert told["KERNEL_POD_NAME"] == plan.names.pod
    assert (told["KERNEL_NAMESPACE"], told["KERNEL_SERVICE_ACCOUNT_NAME"]) == (plan.namespace, "default")
    assert told["KERNEL_IMAGE"] == told["KERNEL_EXECUTOR_IMAGE"] == "elyra/kernel-spark-py:dev"


def test_other_kernels_are_told_nothing_of_their_pod(make_plan):
    assert not {"KERNEL_POD_IP", "KERNEL_IMAGE", "KERNEL_EXECUTOR_IMAGE"} & variables(make_plan()).keys()


@pytest.mark.parametrize(
    ("of_kernelspec", "client", "expected"),
    [
        (None, {}, "a/driver"),
        ("a/executor", {}, "a/executor"),
        ("a/driver", {"KERNEL_IMAGE": "b/mine"}, "b/mine"),
        ("a/executor", {"KERNEL_IMAGE": "b/mine"}, "a/executor"),
        ("a/executor", {"KERNEL_EXECUTOR_IMAGE": "b/mine"}, "b/mine"),
    ],
)
def test_executors_have_the_image_that_is_named_for_them_else_the_kernels(make_plan, of_kernelspec, client, expected):
    plan = make_plan(
        image="a/driver",
        facts_of_kernelspec={**DRIVER, "executor_image": of_kernelspec},
        policy=Policy(images=("b/*",)),
        **client,
    )
    assert variables(plan)["KERNEL_EXECUTOR_IMAGE"] == expected


def test_an_image_of_executors_is_the_policys_to_allow_as_the_kernels_is(make_plan):
    own = {"image": "a/driver", "facts_of_kernelspec": {**DRIVER, "executor_image": "a/executor"}}
    for image in ("a/driver", "a/executor"):
        make_plan(**own, KERNEL_EXECUTOR_IMAGE=image)
    with pytest.raises(PolicyViolation, match="KERNEL_EXECUTOR_IMAGE names an image that isn't allowed"):
        make_plan(**own, KERNEL_EXECUTOR_IMAGE="evil/image")
    with pytest.raises(InvalidVariable, match="KERNEL_EXECUTOR_IMAGE is not a valid image reference"):
        make_plan(**own, KERNEL_EXECUTOR_IMAGE="No Image")


def test_a_client_names_a_namespace_for_a_kernel_that_starts_pods_only_where_the_policy_says_so_of_such_kernels(make_plan):
    with pytest.raises(PolicyViolation, match="KERNEL_NAMESPACE names a namespace that isn't allowed"):
        make_plan(facts_of_kernelspec=DRIVER, policy=Policy(namespaces=("team-*",)), KERNEL_NAMESPACE="team-a")
    with pytest.raises(PolicyViolation, match="KERNEL_NAMESPACE names a namespace that isn't allowed"):
        make_plan(policy=Policy(spark_namespaces=("spark-*",)), KERNEL_NAMESPACE="spark-a")
    plan = make_plan(facts_of_kernelspec=DRIVER, policy=Policy(spark_namespaces=("spark-*",)), KERNEL_NAMESPACE="spark-a")
    assert (plan.namespace, plan.namespace_document, plan.role_binding) == ("spark-a", None, None)


def test_the_settings_word_on_a_namespace_needs_no_policy(make_plan):
    settings = LaunchSettings(spark_namespace="spark", namespaces=("a", "b"))
    assert settings.watched_namespaces == ("a", "b", "spark")
    plan = make_plan(facts_of_kernelspec=DRIVER, settings=settings, KERNEL_NAMESPACE="spark")
    assert (plan.namespace, plan.namespace_document, plan.role_binding) == ("spark", None, None)
    with pytest.raises(PolicyViolation, match="of this kernelspec run in spark only"):
        make_plan(facts_of_kernelspec=DRIVER, settings=settings, KERNEL_NAMESPACE="a")


def test_a_namespace_for_drivers_leaves_a_gateway_that_makes_namespaces_with_a_view_of_all():
    assert LaunchSettings(spark_namespace="spark").watched_namespaces == ()
