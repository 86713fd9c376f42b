"""What Spark is told, of what the kernelspec, the client and the pod say."""

import shlex
from itertools import pairwise

import pytest

from kernel_launchers.errors import InvalidOptions
from kernel_launchers.spark.submit import Driver, executor_template, merged_template, submission

DRIVER = Driver(
    pod="ada-kernel",
    namespace="ada",
    address="10.0.0.1",
    image="elyra/kernel-spark-py:dev",
    kernel_id="k",
    template="template.json",
)
IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "KERNEL_ID": "k"}


def told(**environment):
    arguments = submission(DRIVER, {**IN_A_POD, **environment}).arguments
    assert arguments[-1] == "pyspark-shell"
    settings = dict(value.split("=", 1) for option, value in pairwise(arguments) if option == "--conf")
    return settings, [word for word in arguments[:-1] if word != "--conf" and word.partition("=")[0] not in settings]


def test_the_kernel_is_the_driver_and_its_executors_are_marked_as_its_own():
    settings, rest = told()
    assert rest == []
    assert settings["spark.master"] == "k8s://https://10.96.0.1:443"
    assert settings["spark.submit.deployMode"] == "client"
    assert settings["spark.driver.host"] == settings["spark.driver.bindAddress"] == "10.0.0.1"
    assert settings["spark.kubernetes.driver.pod.name"] == "ada-kernel"
    assert {name: settings[f"spark.kubernetes.executor.label.{name}"] for name in ("app", "component", "kernel_id")} == {
        "app": "enterprise-gateway",
        "component": "worker",
        "kernel_id": "k",
    }


def test_options_of_a_kernelspec_of_enterprise_gateway_make_a_driver_in_client_mode():
    opts = (
        "--master k8s://https://${KUBERNETES_SERVICE_HOST}:${KUBERNETES_SERVICE_PORT} --deploy-mode cluster "
        "--name ${KERNEL_USERNAME}-${KERNEL_ID} --conf spark.kubernetes.submission.waitAppCompletion=false "
        "--conf spark.driver.host=elsewhere --executor-memory 2g"
    )
    settings, rest = told(SPARK_OPTS=opts, KERNEL_USERNAME="ada; rm -rf /", KERNEL_EXTRA_SPARK_OPTS="--conf 'spark.x=a b'")
    assert rest == []
    assert settings["spark.submit.deployMode"] == "client"
    assert settings["spark.driver.host"] == "10.0.0.1"
    assert settings["spark.app.name"] == "ada; rm -rf /-k"
    assert (settings["spark.x"], settings["spark.executor.memory"]) == ("a b", "2g")


def test_options_are_read_by_a_shell_as_they_were_meant_and_by_name_where_they_have_values():
    extra = "--conf 'spark.x=a b' --verbose --jars=a.jar --packages b"
    made = submission(DRIVER, {**IN_A_POD, "KERNEL_EXTRA_SPARK_OPTS": extra})
    assert made.values == {"jars": "a.jar", "packages": "b"}
    assert shlex.split(made.command_line("sparkr-shell")) == [*made.arguments[:-1], "sparkr-shell"]


def test_sizes_are_those_of_the_start_and_options_win_over_them():
    settings, _ = told(KERNEL_EXECUTORS="4", KERNEL_EXECUTOR_MEMORY="3g", KERNEL_EXTRA_SPARK_OPTS="--num-executors=5")
    assert (settings["spark.executor.instances"], settings["spark.executor.memory"]) == ("5", "3g")


def test_jars_and_the_like_are_passed_on():
    _, rest = told(SPARK_OPTS="--jars /opt/a.jar,/opt/b.jar --verbose")
    assert rest == ["--jars", "/opt/a.jar,/opt/b.jar", "--verbose"]


def test_a_master_of_this_machine_knows_nothing_of_pods():
    settings, _ = told(SPARK_OPTS="--master local[2]")
    assert settings["spark.master"] == "local[2]"
    assert not [name for name in settings if name.startswith("spark.kubernetes.driver")]


def test_what_an_older_kernelspec_leaves_to_the_gateway_or_to_cluster_mode_is_left_out():
    opts = (
        "--conf spark.kubernetes.executor.container.image=${KERNEL_EXECUTOR_IMAGE} --conf spark.kubernetes.namespace=${NOBODYS} "
        "-c spark.kubernetes.authenticate.driver.serviceAccountName=${NOBODYS} --conf spark.kubernetes.driverEnv.X=true "
        "--proxy-user ada -v ${KERNEL_EXTRA_SPARK_OPTS} ${NOBODYS} --supervise local:///usr/local/bin/kernel-launchers/launch.py"
    )
    settings, rest = told(
        SPARK_OPTS=opts, KERNEL_EXECUTOR_IMAGE="a/executor", KERNEL_EXTRA_SPARK_OPTS="--jars /a.jar --conf spark.x=1"
    )
    assert rest == ["--verbose", "--jars", "/a.jar"]
    assert settings["spark.kubernetes.executor.container.image"] == "a/executor"
    assert settings["spark.kubernetes.namespace"] == "ada"
    assert settings["spark.kubernetes.driverEnv.X"] == "true"
    assert settings["spark.x"] == "1"
    assert "spark.kubernetes.authenticate.driver.serviceAccountName" not in settings


@pytest.mark.parametrize(("opts", "words"), [("--conf 'a", "can't be read"), ("notebook", "is no option")])
def test_what_cannot_be_read_is_told(opts, words):
    with pytest.raises(InvalidOptions, match=words):
        told(SPARK_OPTS=opts)


def test_an_executor_has_no_more_rights_than_the_kernel_and_no_token():
    spec = executor_template(user=1000, group=100)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_kernelspecs_template_of_executors_counts_and_loses_nothing_that_it_leaves_out():
    base = executor_template(user=1000, group=100)
    written = {
        "metadata": {"labels": {"team": "blue"}},
        "spec": {
            "automountServiceAccountToken": True,
            "securityContext": {"runAsUser": 185, "fsGroup": 100},
            "containers": [{"name": "mine", "securityContext": {"readOnlyRootFilesystem": True}}, {"name": "aide"}],
        },
    }
    made = merged_template(written, base)
    assert made["metadata"] == {"labels": {"team": "blue"}}
    assert made["spec"]["automountServiceAccountToken"] is False
    assert made["spec"]["securityContext"] == {**base["spec"]["securityContext"], "runAsUser": 185, "fsGroup": 100}
    first, second = made["spec"]["containers"]
    assert first["securityContext"] == {**base["spec"]["containers"][0]["securityContext"], "readOnlyRootFilesystem": True}
    assert (first["name"], second) == ("mine", {"name": "aide"})


def test_a_template_that_says_nothing_changes_nothing():
    base = executor_template(user=1000, group=100)
    assert merged_template({"spec": {"containers": [{"name": "executor"}]}}, base) == base
    assert merged_template({"metadata": None}, base)["spec"] == base["spec"]
