import pytest
from jupyter_client.kernelspec import KernelSpec

from enterprise_gateway.provisioners.registry import kernelspec_environment, runs_here, runs_in_cluster


def spec(name="kubernetes", env=None, **config):
    return KernelSpec(env=env or {}, metadata={"kernel_provisioner": {"provisioner_name": name, "config": config}})


@pytest.mark.parametrize(
    ("kernelspec", "here", "cluster"),
    [
        (KernelSpec(), True, False),
        (spec(), False, True),
        (spec("kubernetes-provisioner"), False, True),
        (spec("other"), False, False),
    ],
)
def test_it_is_known_where_a_kernelspecs_kernels_run(kernelspec, here, cluster):
    assert (runs_here(kernelspec), runs_in_cluster(kernelspec)) == (here, cluster)


def test_one_that_cannot_be_started_runs_nowhere():
    kernelspec = spec("kubernetes-provisioner", unknown=1)
    assert (runs_here(kernelspec), runs_in_cluster(kernelspec)) == (False, False)


def test_the_time_for_a_start_may_stand_in_the_provisioners_config_and_env_wins():
    assert kernelspec_environment(spec(launch_timeout=70)) == {"KERNEL_LAUNCH_TIMEOUT": "70"}
    own = {"KERNEL_LAUNCH_TIMEOUT": "80", "A": "b"}
    assert kernelspec_environment(spec(env=own, launch_timeout=70)) == own
    assert kernelspec_environment(spec(env={"A": "b"})) == {"A": "b"}
