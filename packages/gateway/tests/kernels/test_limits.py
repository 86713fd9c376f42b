import pytest

from enterprise_gateway.errors import LimitReached
from enterprise_gateway.kernels.limits import KernelLimits, check_limits


def test_one_more_kernel_than_the_total_is_refused():
    limits = KernelLimits(total=2, per_user=-1)
    check_limits(["a"], "b", limits)
    with pytest.raises(LimitReached, match="2 of at most 2"):
        check_limits(["a", "b"], "c", limits)


def test_one_more_kernel_of_a_user_than_allowed_is_refused_and_others_are_not():
    limits = KernelLimits(total=None, per_user=1)
    check_limits(["a"], "b", limits)
    with pytest.raises(LimitReached, match="User 'a' has 1 kernels of at most 1"):
        check_limits(["a"], "a", limits)


def test_no_limits_allow_any_number():
    check_limits(["a"] * 10_000, "a", KernelLimits(total=None, per_user=-1))


def test_a_limit_of_zero_refuses_the_first_kernel():
    with pytest.raises(LimitReached):
        check_limits([], "a", KernelLimits(total=0, per_user=-1))
