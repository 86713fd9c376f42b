import pytest

from enterprise_gateway.errors import LaunchFailed
from enterprise_gateway.launch.pool_size import NO_POOL, PoolSize, read_pool_config, read_pool_sizes


def test_settings_name_kernelspecs_with_a_size_or_bounds():
    assert read_pool_sizes(("a=2", " b=1..4")) == {"a": PoolSize(2, 2), "b": PoolSize(1, 4)}


def test_letter_case_of_a_kernelspec_does_not_count():
    assert read_pool_sizes(("R_kubernetes=1",)) == {"r_kubernetes": PoolSize(1, 1)}


@pytest.mark.parametrize("written", ["a", "a=", "a=x", "a=3..2", "a=-1", "a=1001", "=2"])
def test_settings_that_cant_be_read_are_refused(written):
    with pytest.raises(ValueError, match="NAME=SIZE"):
        read_pool_sizes((written,))


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({}, NO_POOL),
        ({"size": 2}, PoolSize(2, 2)),
        ({"minimum": 1, "maximum": 3}, PoolSize(1, 3)),
        ({"size": 2, "maximum": 5}, PoolSize(2, 5)),
        ({"size": 0}, NO_POOL),
    ],
)
def test_a_kernelspec_says_how_many_pods_wait(config, size):
    assert read_pool_config(config) == size


@pytest.mark.parametrize("config", [{"size": "2"}, {"size": True}, {"minimum": 3, "maximum": 1}, {"sise": 2}, {"size": -1}])
def test_a_kernelspec_that_says_something_else_cant_be_used(config):
    with pytest.raises(LaunchFailed, match="warm_pool"):
        read_pool_config(config)
