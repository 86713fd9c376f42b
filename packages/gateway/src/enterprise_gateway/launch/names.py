"""The names of one kernel's objects, and the labels and annotations that all of them carry."""

import re
from dataclasses import dataclass
from typing import Any

from enterprise_gateway.launch.request import LaunchRequest
from enterprise_gateway_common import labels
from enterprise_gateway_common.names import kernel_object_name, slug, unique_slug

__all__ = ["KernelNames", "annotations", "kernel_labels", "kernel_names", "secret_name"]

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z][A-Za-z0-9_]*)\s*\}\}|\$\{([A-Za-z][A-Za-z0-9_]*)\}")

RECORD_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class KernelNames:
    """What one kernel's objects are called."""

    pod: str
    secret: str
    own_namespace: str
    """Name of the namespace that is made for this kernel where each has its own."""


def kernel_names(request: LaunchRequest, *, launch_id: str) -> KernelNames:
    """Return the names of a kernel's objects: readable, valid, and never those of another kernel."""
    default = kernel_object_name(request.kernel.username, request.kernel.kernel_id)
    pod = _from_pattern(request) or default
    # A restarted kernel's Secret must not meet the one that Kubernetes is still collecting.
    return KernelNames(pod=pod, secret=secret_name(pod, launch_id), own_namespace=default)


def secret_name(pod: str, launch_id: str) -> str:
    """Return what the Secret of one start of a kernel is called."""
    return f"{pod}-{launch_id}"


def _from_pattern(request: LaunchRequest) -> str | None:
    """Return the pod's name as KERNEL_POD_NAME asks for it, or `None` where the default is to be used."""
    pattern = request.wanted.pod_name_pattern
    if pattern is None:
        return None
    variables: dict[str, Any] = request.template_variables()
    names = [newer or older for newer, older in _PLACEHOLDER.findall(pattern)]
    if any(name not in variables for name in names):
        return None
    filled = _PLACEHOLDER.sub(lambda match: str(variables[match.group(1) or match.group(2)]), pattern)
    if "{{" in filled or "{%" in filled or not slug(filled):
        return None
    # Two kernels of one pattern must not meet: the kernel's id goes into every name, in full where there is room.
    return kernel_object_name(slug(filled).replace(request.kernel.kernel_id, "").strip("-"), request.kernel.kernel_id)


def kernel_labels(request: LaunchRequest, *, instance: str, launch_id: str, component: str) -> dict[str, str]:
    """Return the labels of every object of a kernel."""
    return {
        labels.APP: labels.APP_VALUE,
        labels.COMPONENT: component,
        labels.KERNEL_ID: request.kernel.kernel_id,
        labels.NAME: labels.APP_VALUE,
        labels.INSTANCE: instance,
        labels.RECOMMENDED_COMPONENT: component,
        labels.MANAGED_BY: labels.APP_VALUE,
        labels.PART_OF: labels.APP_VALUE,
        labels.KERNEL_LAUNCH: launch_id,
        labels.KERNEL_USER: unique_slug(request.kernel.username),
    }


def annotations(request: LaunchRequest, *, own_namespace: bool) -> dict[str, str]:
    """Return the annotations from which a gateway that didn't start a kernel knows it.

    Parameters
    ----------
    own_namespace
        Whether the kernel's namespace is made for it, and so ends with it.
    """
    return {
        labels.OWN_NAMESPACE_ANNOTATION: str(own_namespace).lower(),
        labels.RECORD_VERSION_ANNOTATION: RECORD_VERSION,
        labels.KERNEL_NAME_ANNOTATION: request.kernel.kernel_name,
        labels.USERNAME_ANNOTATION: request.kernel.username,
    }
