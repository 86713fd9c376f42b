"""The connection file of a kernel in a pod: what the gateway writes into a Secret and the launcher reads from it.

A pod has a network namespace of its own, so a kernel's ports needn't be searched for: they are the same in every pod.
"""

import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

__all__ = [
    "CONNECTION_FILE",
    "CONNECTION_FILE_VARIABLE",
    "CONNECTION_FOLDER",
    "EXECUTOR_TEMPLATE",
    "EXECUTOR_TEMPLATE_VARIABLE",
    "PORTS",
    "InvalidConnectionInfo",
    "SupervisorSettings",
    "connection_file",
    "parse_connection_file",
    "supervisor_settings",
]

CONNECTION_FOLDER = "/var/run/kernel-connection"
CONNECTION_FILE = "connection.json"
CONNECTION_FILE_VARIABLE = "KERNEL_CONNECTION_FILE"
"""Environment variable of the pod that names the mounted connection file."""
EXECUTOR_TEMPLATE = "executor-pod.json"
"""File beside it, for kernels that start pods of their own: what these are made from, as JSON."""
EXECUTOR_TEMPLATE_VARIABLE = "KERNEL_EXECUTOR_TEMPLATE"
"""Environment variable of the pod that names that file."""

PORTS = {"shell_port": 52317, "iopub_port": 52318, "stdin_port": 52319, "control_port": 52320, "hb_port": 52321}
"""Nothing else listens in the pod before its kernel does, so any five would do; these are no well-known service's."""

_HIGHEST_PORT = 65535
_CURVE_KEYS = ("curve_publickey", "curve_secretkey")
_CURVE_KEY_LENGTH = 40


class InvalidConnectionInfo(ValueError):
    """A connection file is not one; the text says why and shows none of its keys."""


class SupervisorSettings(NamedTuple):
    """What the launcher needs to listen for gateways itself, and have its kernel listen to nobody else.

    A launcher that doesn't know of it starts a kernel that listens on the ports of the connection file.
    """

    port: int
    publickey: str
    """Of the supervisor's pair of CURVE keys, which a gateway expects to find."""
    secretkey: str
    gateway_publickey: str
    """The only key that is let in; the secret one of that pair never comes into the pod."""
    log_memory_bytes: int
    """The most of what the kernel says that is kept in memory."""
    log_file_bytes: int
    """The most that is kept in a file beyond that, where one can be written."""
    log_messages: int
    waits_for_claim: bool = False
    """Whether the kernel is to be started as far only as it can be before its pod is claimed."""


_SUPERVISOR = "supervisor"


def connection_file(
    *,
    key: str,
    kernel_name: str,
    curve_publickey: Optional[str] = None,
    curve_secretkey: Optional[str] = None,
    supervisor: Optional[SupervisorSettings] = None,
) -> str:
    """Return the text of the connection file for a kernel that listens on every address of its pod.

    Parameters
    ----------
    supervisor
        For launchers that can: listen in the kernel's place.
    """
    info: Dict[str, Any] = {
        "transport": "tcp",
        "ip": "0.0.0.0",  # noqa: S104  a pod's address isn't known before it runs
        "key": key,
        "signature_scheme": "hmac-sha256",
        "kernel_name": kernel_name,
    }
    info.update(PORTS)
    if curve_publickey and curve_secretkey:
        info.update(curve_publickey=curve_publickey, curve_secretkey=curve_secretkey)
    if supervisor is not None:
        info[_SUPERVISOR] = supervisor._asdict()
    return json.dumps(info, indent=1, sort_keys=True)


def parse_connection_file(text: str) -> Dict[str, Any]:
    """Return what a connection file says.

    Raises
    ------
    InvalidConnectionInfo
        It isn't JSON, or something a kernel needs is missing or has the wrong type.
    """
    try:
        info = json.loads(text)
    except ValueError:
        # Without the cause: it quotes the text, which holds the key.
        raise InvalidConnectionInfo("the connection file is not JSON") from None
    if not isinstance(info, dict):
        raise InvalidConnectionInfo("the connection file is not a JSON object")
    problems = _problems(info)
    if problems:
        raise InvalidConnectionInfo("the connection file has no valid " + ", ".join(problems))
    return info


def supervisor_settings(info: Mapping[str, Any]) -> Optional[SupervisorSettings]:
    """Return how the launcher is to listen for gateways; `None` where the connection file doesn't say.

    Raises
    ------
    InvalidConnectionInfo
        It says it in a way that can't be used.
    """
    given = info.get(_SUPERVISOR)
    if given is None:
        return None
    try:
        defaults = SupervisorSettings._field_defaults
        settings = SupervisorSettings(
            **{name: given[name] for name in SupervisorSettings._fields if name in given or name not in defaults}
        )
    except (KeyError, TypeError):
        raise InvalidConnectionInfo("the connection file doesn't say all that a supervisor needs") from None
    keys = (settings.publickey, settings.secretkey, settings.gateway_publickey)
    bounds = (settings.log_memory_bytes, settings.log_file_bytes, settings.log_messages)
    if not (_is_port(settings.port) and all(map(_is_curve_key, keys)) and all(isinstance(bound, int) for bound in bounds)):
        raise InvalidConnectionInfo("the connection file doesn't say what a supervisor needs in a way that can be used")
    return settings


def _problems(info: Mapping[str, Any]) -> List[str]:
    problems = [name for name in PORTS if not _is_port(info.get(name))]
    problems += [name for name in ("transport", "ip", "signature_scheme") if not isinstance(info.get(name), str)]
    if not (isinstance(info.get("key"), str) and info["key"]):
        problems.append("key")
    curve = [info.get(name) for name in _CURVE_KEYS]
    if any(value is not None for value in curve):
        problems += [name for name in _CURVE_KEYS if not _is_curve_key(info.get(name))]
    return problems


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _HIGHEST_PORT


def _is_curve_key(value: object) -> bool:
    return isinstance(value, str) and len(value) == _CURVE_KEY_LENGTH
