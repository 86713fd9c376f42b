import pytest

from enterprise_gateway.errors import NotSupported
from enterprise_gateway.launch.command import check_runs_in_image, pod_command


def test_placeholders_are_filled_in_and_unknown_ones_stay():
    made = pod_command(["launch-kernel", "{kernel_id}", "{other}"], kernel_id="k1", values={})
    assert made == ["launch-kernel", "k1", "{other}"]


@pytest.mark.parametrize("argv", [[], ["python", "/usr/local/share/jupyter/kernels/x/scripts/launch_kubernetes.py"]])
def test_an_image_runs_its_own_command_where_the_kernelspec_names_none_of_the_image(argv):
    assert pod_command(argv, kernel_id="k1", values={}) is None


@pytest.mark.parametrize(
    "script", ["/usr/local/share/jupyter/kernels/spark_python_kubernetes/bin/run.sh", "{resource_dir}/bin/run.sh"]
)
def test_a_script_that_submits_to_spark_is_refused_with_what_to_do(script):
    with pytest.raises(NotSupported, match=r"bin/run\.sh.*Name the command of the kernel's image in argv"):
        check_runs_in_image([script, "--kernel-id", "{kernel_id}"])


def test_a_script_of_the_image_is_run():
    check_runs_in_image(["/opt/kernel/bin/run.sh"])
