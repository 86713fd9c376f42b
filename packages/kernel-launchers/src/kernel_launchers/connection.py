"""The connection file of a kernel: checked where it is mounted, made where the kernel chooses its own ports."""

import json
import os
from typing import TYPE_CHECKING, Any, Dict, List, Tuple

from enterprise_gateway_common.connection import PORTS, InvalidConnectionInfo, parse_connection_file
from kernel_launchers.errors import InvalidOptions, LaunchRefused
from kernel_launchers.options import Options, PortRange

if TYPE_CHECKING:
    import socket

__all__ = ["bind_port", "check_file", "own_connection", "private_copy"]

_OWNER_ONLY = 0o600
_TRIES = 100


def check_file(path: str) -> Dict[str, Any]:
    """Return what a connection file says that can be used.

    Raises
    ------
    LaunchRefused
        It can't be read or isn't one; no part of it is quoted.
    """
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  a path of the pod, as it was given
            return parse_connection_file(file.read())
    except OSError as error:
        raise LaunchRefused(f"the connection file {path} can't be read: {error.strerror}") from error
    except InvalidConnectionInfo as error:
        raise LaunchRefused(f"{path}: {error}") from None


def own_connection(options: Options, folder: str) -> Tuple[str, Dict[str, Any]]:
    """Return a new connection file with free ports of the range, and what stands in it."""
    # Not at the top: most kernels have a mounted file, and their start would wait for these.
    import secrets

    holders: "List[socket.socket]" = []
    try:
        info: Dict[str, Any] = {
            "transport": "tcp",
            "ip": "0.0.0.0",  # noqa: S104  the gateway connects by the pod's address
            "key": secrets.token_hex(32),
            "signature_scheme": "hmac-sha256",
            "kernel_name": "",
        }
        for name in PORTS:
            # All are held until the last is chosen, so that no two are the same.
            holders.append(bind_port(options.port_range))
            info[name] = holders[-1].getsockname()[1]
    finally:
        for holder in holders:
            holder.close()
    return _written(folder, json.dumps(info)), info


def private_copy(path: str, folder: str) -> str:
    """Return a copy of a connection file that its kernel may write to and remove, as some do; the mounted one is read-only."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123  as above
        return _written(folder, file.read())


def _written(folder: str, text: str) -> str:
    path = os.path.join(folder, "connection.json")  # noqa: PTH118  as above
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w", encoding="utf-8") as file:
        file.write(text)
    return path


def bind_port(port_range: PortRange) -> "socket.socket":
    """Return a socket that is bound to a free port of a range.

    Raises
    ------
    InvalidOptions
        No port of the range seems to be free.
    """
    import secrets
    import socket

    lowest, highest = port_range
    for _ in range(_TRIES):
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        port = 0 if highest == 0 else lowest + secrets.randbelow(highest - lowest + 1)
        try:
            holder.bind(("0.0.0.0", port))  # noqa: S104  as above
        except OSError:
            holder.close()
        else:
            return holder
    raise InvalidOptions(f"no port from {lowest} to {highest} is free")
