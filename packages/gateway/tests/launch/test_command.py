import pytest

from enterprise_gateway.launch.command import pod_command


def test_placeholders_are_filled_in_and_unknown_ones_stay():
    made = pod_command(["launch-kernel", "{kernel_id}", "{other}"], kernel_id="k1", values={})
    assert made == ["launch-kernel", "k1", "{other}"]


@pytest.mark.parametrize("argv", [[], ["python", "/usr/local/share/jupyter/kernels/x/scripts/launch_kubernetes.py"]])
def test_an_image_runs_its_own_command_where_the_kernelspec_names_none_of_the_image(argv):
    assert pod_command(argv, kernel_id="k1", values={}) is None
