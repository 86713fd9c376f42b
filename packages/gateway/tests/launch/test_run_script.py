"""Older Spark kernelspecs whose argv is a script of the gateway's machine."""

import pytest

from enterprise_gateway.errors import NotSupported
from enterprise_gateway.launch.run_script import check_runs_in_image, client_mode

RUN = "/usr/local/share/jupyter/kernels/spark_python_kubernetes/bin/run.sh"
OPTIONS = ("kernel-id", "port-range", "response-address", "public-key")
CONNECTION = [word for name in OPTIONS for word in (f"--RemoteProcessProxy.{name}", f"{{{name.replace('-', '_')}}}")]
SPARK = {
    "KERNEL_LANGUAGE": "python",
    "SPARK_OPTS": "--master k8s://https://10.0.0.1:443 --deploy-mode cluster",
    "LAUNCH_OPTS": "",
}
LAUNCHER = ["launch-kernel", "--kernel-id", "{kernel_id}"]
MODE = "--spark-context-initialization-mode"


@pytest.mark.parametrize("prefix", ["--RemoteProcessProxy.", "--"])
@pytest.mark.parametrize("script", [RUN, "{resource_dir}/bin/run.sh"])
def test_the_mode_of_the_script_is_the_launchers_and_the_connection_is_made_as_always(prefix, script):
    argv = [script, *(word.replace("--RemoteProcessProxy.", prefix) for word in CONNECTION)]
    argv += [f"{prefix}spark-context-initialization-mode", "lazy"]
    assert client_mode(argv, SPARK).argv == [*LAUNCHER, MODE, "lazy"]


@pytest.mark.parametrize(
    ("launch_opts", "mode", "expected"),
    [
        ("--RemoteProcessProxy.spark-context-initialization-mode eager", [], [MODE, "eager"]),
        ("--RemoteProcessProxy.spark-context-initialization-mode=eager", [f"{MODE}=lazy"], [MODE, "lazy"]),
        ("--kernel-class-name a.B --cluster-type spark", [], ["--cluster-type", "spark", "--kernel-class-name", "a.B"]),
        ("", [], []),
    ],
)
def test_launch_opts_count_where_argv_says_nothing(launch_opts, mode, expected):
    environment = {**SPARK, "LAUNCH_OPTS": launch_opts}
    assert client_mode([RUN, *CONNECTION, *mode], environment).argv == [*LAUNCHER, *expected]


@pytest.mark.parametrize("argv", [[], ["launch-kernel", "--kernel-id", "{kernel_id}"], ["/opt/kernel/bin/run.sh", "--other"]])
def test_other_commands_are_run_as_they_are(argv):
    assert client_mode(argv, SPARK).argv == argv
    check_runs_in_image(argv, SPARK)


@pytest.mark.parametrize(
    ("argv", "environment", "why"),
    [
        ([], {"KERNEL_LANGUAGE": "R", "SPARK_OPTS": ""}, "of other languages than Python"),
        ([], {"KERNEL_LANGUAGE": "python"}, "has no SPARK_OPTS"),
        ([], {"SPARK_OPTS": "--master yarn --deploy-mode cluster"}, "name the master yarn"),
        ([], {"SPARK_OPTS": "--master=spark://host:7077"}, "name the master spark://host:7077"),
        ([], {"SPARK_OPTS": "--name 'open"}, "its SPARK_OPTS can't be read"),
        ([], {"SPARK_OPTS": "", "LAUNCH_OPTS": "'"}, "its LAUNCH_OPTS can't be read"),
        (["--customAppName", "x"], {"SPARK_OPTS": ""}, "its argument --customAppName isn't known here"),
        (["word"], {"SPARK_OPTS": ""}, "its argument word isn't known here"),
    ],
)
def test_a_script_that_client_mode_cannot_do_is_refused_with_why_and_what_to_do(argv, environment, why):
    command = [RUN, *argv]
    assert client_mode(command, environment) == (command, environment)
    with pytest.raises(NotSupported, match=rf"bin/run\.sh.*{why}.*Name the command of the kernel's image in argv"):
        check_runs_in_image(command, environment)


def test_where_the_script_found_spark_is_not_where_the_image_has_it():
    environment = {**SPARK, "SPARK_HOME": "/opt/spark"}
    assert client_mode([RUN, *CONNECTION], environment).environment == SPARK
    assert client_mode(["launch-kernel"], environment).environment == environment
