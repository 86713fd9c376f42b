"""The kernel's pod, as Spark has to know it: from the pod's variables, and what Kubernetes mounts."""

import json
import os
import socket
import tempfile
from typing import Any, Dict, Mapping

from enterprise_gateway_common.connection import EXECUTOR_TEMPLATE_VARIABLE
from kernel_launchers.errors import InvalidOptions
from kernel_launchers.spark.submit import Driver, executor_template, merged_template

__all__ = ["SERVICE_ACCOUNT", "driver", "namespace"]

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where Kubernetes mounts the token of the pod's account."""


def driver(environment: Mapping[str, str]) -> Driver:
    """Return the pod of this process, as its executors have to know it; their template is written to a file.

    Raises
    ------
    InvalidOptions
        The kernelspec's template of executors can't be used.
    """
    template = os.path.join(tempfile.mkdtemp(prefix="spark-"), "executor-pod.json")  # noqa: PTH118  a text, as Spark takes it
    with open(template, "w", encoding="utf-8") as file:  # noqa: PTH123  as above
        # JSON is YAML.
        json.dump(_executor(environment), file)
    return Driver(
        pod=environment.get("KERNEL_POD_NAME") or socket.gethostname(),
        namespace=namespace(environment),
        address=environment.get("KERNEL_POD_IP") or _own_address(),
        image=environment.get("KERNEL_EXECUTOR_IMAGE") or environment.get("KERNEL_IMAGE", ""),
        kernel_id=environment.get("KERNEL_ID", ""),
        template=template,
    )


def _executor(environment: Mapping[str, str]) -> "Dict[str, Any]":
    own = executor_template(user=os.getuid(), group=os.getgid())
    path = environment.get(EXECUTOR_TEMPLATE_VARIABLE)
    if not path:
        return own
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123  as above
            return merged_template(json.load(file), own)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidOptions(f"{EXECUTOR_TEMPLATE_VARIABLE}: {path} can't be used ({error})") from error


def namespace(environment: Mapping[str, str]) -> str:
    """Return the namespace of this pod."""
    try:
        with open(f"{SERVICE_ACCOUNT}/namespace", encoding="utf-8") as file:  # noqa: PTH123  as above
            return file.read().strip()
    except OSError:
        return environment.get("KERNEL_NAMESPACE", "default")


def _own_address() -> str:
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
