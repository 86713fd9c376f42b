"""A connection file of the kernel's own: for addresses that nobody reaches but what runs in the pod."""

import json
import os
import socket
from typing import Any, Dict, List

from enterprise_gateway_common.connection import PORTS

__all__ = ["LOOPBACK", "write_loopback_file"]

LOOPBACK = "127.0.0.1"
_OWNER_ONLY = 0o600
# What the path of a socket may have on every system, less the number of its port.
_LONGEST_PATH = 90


def write_loopback_file(path: str, *, key: str, kernel_name: str, unix_sockets: bool = False, start: int = 0) -> Dict[str, Any]:
    """Write a connection file, in place of one that is there, and return what it says.

    Parameters
    ----------
    unix_sockets
        Whether the kernel can listen on sockets of the file system; else it gets ports that are free now.
    start
        Tells the sockets of one start of the kernel from those of another.
    """
    base = {"key": key, "signature_scheme": "hmac-sha256", "kernel_name": kernel_name}
    prefix = f"{os.path.splitext(path)[0]}-{start}"  # noqa: PTH122  a path of the pod, as it was given
    if unix_sockets and len(prefix) <= _LONGEST_PATH:
        numbers = {name: number for number, name in enumerate(PORTS, start=1)}
        info: Dict[str, Any] = {**base, "transport": "ipc", "ip": prefix, **numbers}
    else:
        info = {**base, "transport": "tcp", "ip": LOOPBACK, **_free_ports()}
    if os.path.lexists(path):  # a kernel may have removed it, as some do
        os.remove(path)  # noqa: PTH107  as above
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w", encoding="utf-8") as file:
        json.dump(info, file)
    return info


def _free_ports() -> Dict[str, int]:
    holders: List[socket.socket] = []
    try:
        for _ in PORTS:
            # All are held until the last is chosen, so that no two are the same.
            holders.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            holders[-1].bind((LOOPBACK, 0))
        return {name: holder.getsockname()[1] for name, holder in zip(PORTS, holders)}
    finally:
        for holder in holders:
            holder.close()
