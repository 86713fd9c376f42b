"""Kernels that start pods of their own, as Spark's drivers do: which they are, and what only their pods have.

Such a kernel's service account may make pods, and whoever may do that in a namespace can read every Secret in it. So
which kernels these are is the kernelspec's word alone: nothing that a client sends is looked at here.
"""

from collections.abc import Sequence
from itertools import pairwise

from enterprise_gateway.launch.request import LaunchRequest
from enterprise_gateway.launch.run_script import runs_script_of_the_kernelspec

__all__ = ["driver_variables", "starts_pods"]

_MODE = "--spark-context-initialization-mode"
_OLDER_MODE = "--RemoteProcessProxy.spark-context-initialization-mode"
_MODES_WITH_A_SESSION = frozenset({"lazy", "eager"})


def starts_pods(*, told: bool | None, executor_image: str, argv: Sequence[str]) -> bool:
    """Tell whether the kernels of a kernelspec start pods of their own.

    Parameters
    ----------
    told
        `starts_pods` of the kernelspec's config, which decides; `None` where it isn't there.
    executor_image
        `executor_image_name` of its config: an image for such pods.
    argv
        Its command, which may name the mode of the Spark session.
    """
    if told is not None:
        return told
    return bool(executor_image) or _makes_session(argv) or runs_script_of_the_kernelspec(argv)


def _makes_session(argv: Sequence[str]) -> bool:
    words = [word for argument in argv for word in argument.split("=", 1)]
    return any(name in {_MODE, _OLDER_MODE} and value in _MODES_WITH_A_SESSION for name, value in pairwise(words))


def driver_variables(request: LaunchRequest, *, pod: str, namespace: str, service_account: str) -> dict[str, str]:
    """Return the variables by which a kernel knows itself as the driver of its executors; nobody overrides them."""
    return {
        "KERNEL_POD_NAME": pod,
        "KERNEL_NAMESPACE": namespace,
        "KERNEL_SERVICE_ACCOUNT_NAME": service_account,
        "KERNEL_IMAGE": request.image,
        "KERNEL_EXECUTOR_IMAGE": request.executor_image,
    }
