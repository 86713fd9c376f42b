"""A Spark kernelspec of Enterprise Gateway 3.3, from its kernel.json to what Spark is told in its pod."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from tests.support.older_spark import OLDER_TEMPLATE, older_spark_kernelspec

from enterprise_gateway.launch.command import expects_phone_home, pod_command
from enterprise_gateway.launch.plan import LaunchPlan, LaunchSettings, build_plan
from enterprise_gateway.launch.policy import Policy
from enterprise_gateway.launch.request import KernelFacts, compose_request
from enterprise_gateway.launch.run_script import client_mode
from enterprise_gateway.launch.spark import starts_pods
from enterprise_gateway.launch.template import Dialect, PodTemplate
from enterprise_gateway.launch.variables import read_variables
from enterprise_gateway.provisioners.process_proxy import choose
from enterprise_gateway_common.kernelspec_metadata import provisioner_stanza
from kernel_launchers.options import read_options
from kernel_launchers.spark.submit import Driver, submission

IMAGE = "elyra/kernel-spark-py:dev"
KERNEL_ID = "01234567-89ab-4cde-8f01-23456789abcd"


def plan(**client: str) -> LaunchPlan:
    spec = older_spark_kernelspec("spark_python_kubernetes", IMAGE)
    name, config = choose(provisioner_stanza(spec["metadata"]))
    assert name == "kubernetes"
    facts = KernelFacts(kernel_id=KERNEL_ID, kernel_name="spark_python_kubernetes", username="ada", language=spec["language"])
    request = compose_request(
        kernel=facts, client=read_variables(client), kernelspec=spec["env"], inherited={}, said={}, in_pod=True
    ).in_pod(
        default_image=config["image_name"],
        executor_image=config["executor_image_name"],
        starts_pods=starts_pods(told=None, executor_image=config["executor_image_name"], argv=spec["argv"]),
    )
    mode = client_mode(spec["argv"], request.environment)
    assert not expects_phone_home(mode.argv)
    return build_plan(
        request=request.with_environment(mode.environment),
        policy=Policy(),
        settings=LaunchSettings(),
        template=PodTemplate(OLDER_TEMPLATE, Dialect.JINJA),
        command=pod_command(mode.argv, kernel_id=KERNEL_ID, values={}),
        connection_file="{}",
        facts={},
        launch_id="abc",
    )


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    return dict(plan().pod)


@pytest.fixture(scope="module")
def environment(pod: dict[str, Any]) -> dict[str, str]:
    """What the kernel finds, as the kubelet would fill it in."""
    written = pod["spec"]["containers"][0]["env"]
    filled = {each["name"]: each.get("value", "10.1.2.3").replace("$$", "$") for each in written}
    return {**filled, "KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def settings_of(environment: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    driver = Driver(
        pod=environment["KERNEL_POD_NAME"],
        namespace=environment["KERNEL_NAMESPACE"],
        address=environment["KERNEL_POD_IP"],
        image=environment["KERNEL_EXECUTOR_IMAGE"],
        kernel_id=environment["KERNEL_ID"],
        template="template.json",
    )
    arguments = submission(driver, environment).arguments
    settings = dict(value.split("=", 1) for option, value in pairwise(arguments) if option == "--conf")
    return settings, [word for word in arguments if word != "--conf" and word.partition("=")[0] not in settings]


def test_its_command_is_the_launchers_with_its_mode(pod, environment):
    command = pod["spec"]["containers"][0]["command"]
    assert command == ["launch-kernel", "--kernel-id", KERNEL_ID, "--spark-context-initialization-mode", "lazy"]
    options = read_options(command[1:], environment)
    assert (options.language, options.spark_mode, options.cluster_type, options.response_address) == (
        "python",
        "lazy",
        "spark",
        None,
    )


def test_its_pod_has_the_token_and_its_account_the_rights_that_its_template_does_not_name(pod):
    assert pod["spec"]["automountServiceAccountToken"] is True
    assert plan().role_binding is not None


def test_sparks_home_is_the_images(environment):
    assert "SPARK_HOME" not in environment


def test_its_options_make_the_session_of_a_driver_that_is_the_kernel(environment):
    settings, rest = settings_of(environment)
    assert rest == ["pyspark-shell"]
    assert settings["spark.master"] == "k8s://https://10.96.0.1:443"
    assert settings["spark.submit.deployMode"] == "client"
    assert settings["spark.app.name"] == f"ada-{KERNEL_ID}"
    assert settings["spark.kubernetes.namespace"] == environment["KERNEL_NAMESPACE"]
    assert settings["spark.kubernetes.executor.container.image"] == settings["spark.kubernetes.container.image"] == IMAGE
    assert settings["spark.kubernetes.executor.label.component"] == "worker"
    assert not [name for name, value in settings.items() if "$" in value or not value]


def test_a_clients_options_reach_the_session(environment):
    made = plan(KERNEL_EXTRA_SPARK_OPTS="--conf spark.sql.shuffle.partitions=3 --jars /opt/a.jar")
    told = {each["name"]: each.get("value", "") for each in made.pod["spec"]["containers"][0]["env"]}
    settings, rest = settings_of({**environment, **{name: value.replace("$$", "$") for name, value in told.items() if value}})
    assert settings["spark.sql.shuffle.partitions"] == "3"
    assert "/opt/a.jar" in rest
