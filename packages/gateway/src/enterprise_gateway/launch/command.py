"""What runs in a kernel's container, from the argv of its kernelspec."""

import re
from collections.abc import Mapping, Sequence

from enterprise_gateway.errors import NotSupported

__all__ = ["check_runs_in_image", "expects_phone_home", "pod_command", "runs_script_of_the_kernelspec"]

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_]+)\}")
# Kernelspecs written for a launcher beside the gateway name it here; its work is done by this package.
_LAUNCHER_OF_THE_GATEWAY = re.compile(r"(^|/)(launch_kubernetes|launch_custom_resource)\.py$")
# A script in the kernelspec's own folder, which is on the gateway's machine and not in the kernel's image.
_SCRIPT_OF_THE_KERNELSPEC = re.compile(r"((^|/)kernels/[^/]+|^\{resource_dir\})/bin/run\.sh$")


def pod_command(argv: Sequence[str], *, kernel_id: str, values: Mapping[str, str]) -> list[str] | None:
    """Return the command of the kernel's container; `None` where its image knows by itself.

    Parameters
    ----------
    values
        What stands for `{connection_file}`, `{response_address}` and their like.
    """
    if not argv or any(_LAUNCHER_OF_THE_GATEWAY.search(argument) for argument in argv):
        return None
    known = {"kernel_id": kernel_id, **values}
    return [_PLACEHOLDER.sub(lambda match: known.get(match.group(1), match.group(0)), argument) for argument in argv]


def check_runs_in_image(command: Sequence[str]) -> None:
    """Return when a command can be one of the kernel's image.

    Raises
    ------
    NotSupported
        It is a script that submits the kernel to Spark from the gateway's machine.
    """
    if runs_script_of_the_kernelspec(command):
        raise NotSupported(
            "The kernelspec's argv names its bin/run.sh, which submits the kernel to Spark from the gateway's machine; kernels "
            "of that kind aren't supported. Name the command of the kernel's image in argv, or leave argv empty to run the "
            "image's own."
        )


def runs_script_of_the_kernelspec(argv: Sequence[str]) -> bool:
    """Tell whether a command is the script by which older Spark kernelspecs submit their kernel."""
    return any(_SCRIPT_OF_THE_KERNELSPEC.search(argument) for argument in argv)


def expects_phone_home(argv: Sequence[str]) -> bool:
    """Tell whether a kernelspec's launcher sends its connection to the gateway instead of reading a mounted one."""
    return any("{response_address}" in argument for argument in argv)
