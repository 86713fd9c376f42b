"""What runs in a kernel's container, from the argv of its kernelspec."""

import re
from collections.abc import Mapping, Sequence

__all__ = ["expects_phone_home", "pod_command"]

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_]+)\}")
# Kernelspecs written for a launcher beside the gateway name it here; its work is done by this package.
_LAUNCHER_OF_THE_GATEWAY = re.compile(r"(^|/)(launch_kubernetes|launch_custom_resource)\.py$")


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


def expects_phone_home(argv: Sequence[str]) -> bool:
    """Tell whether a kernelspec's launcher sends its connection to the gateway instead of reading a mounted one."""
    return any("{response_address}" in argument for argument in argv)
