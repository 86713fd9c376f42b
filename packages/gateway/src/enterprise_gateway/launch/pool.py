"""Pods that are made before anybody asks for a kernel: which start can have which, and what becomes of a pod with its claim.

Two starts can have each other's pods where these would differ in nothing but names, what ties them to a kernel and its user, and
variables that can be given to a kernel that is about to begin. Whatever else a template prints, a client asks for, or an
administrator changes, is part of the fingerprint, by what the pod would be and not by where it comes from.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from enterprise_gateway.launch.environment import acts_at_start
from enterprise_gateway.launch.names import KernelNames, secret_name
from enterprise_gateway.launch.pod import AUTOSCALER_ANNOTATIONS, CONNECTION_VOLUME
from enterprise_gateway.launch.request import LaunchRequest
from enterprise_gateway.launch.secret import LAUNCH_RECORD
from enterprise_gateway_common import labels
from enterprise_gateway_common.image_reference import parse_image_reference
from enterprise_gateway_common.names import kernel_object_name

if TYPE_CHECKING:
    from enterprise_gateway.launch.plan import LaunchPlan

__all__ = ["claim_of_pod", "claim_of_secret", "claimed_environment", "fingerprint", "obstacle", "pool_plan"]

Document = dict[str, Any]

# Changes with the meaning of what is hashed, so that pods of an earlier version are nobody's.
_VERSION = "1"
_OF_A_KERNEL = frozenset(
    {
        labels.COMPONENT,
        labels.RECOMMENDED_COMPONENT,
        labels.KERNEL_ID,
        labels.KERNEL_LAUNCH,
        labels.KERNEL_USER,
        labels.USERNAME_ANNOTATION,
    }
)
_KERNEL_ID_OPTIONS = frozenset({"--kernel-id", "--RemoteProcessProxy.kernel-id"})
_EXPANDS = "$("
_ALWAYS = "Always"
_LATEST = "latest"


def obstacle(
    request: LaunchRequest, pod: Mapping[str, Any], *, own_namespace: bool, makes_others: bool, supervised: bool
) -> str | None:
    """Return why a start can't have a pod that was made before it, whichever there are; `None` where it can.

    Parameters
    ----------
    own_namespace, makes_others, supervised
        Whether a namespace is made for the kernel, its template makes more than the pod, and a supervisor may be told whose
        kernel it is.
    """
    container = pod["spec"]["containers"][0]
    texts = [str(entry.get("value", "")) for entry in container.get("env") or []]
    obstacles = (
        (own_namespace, "each kernel has a namespace of its own; EG_SHARED_NAMESPACE or EG_KERNEL_NAMESPACES gives several one"),
        (request.kernel.starts_pods, "the kernel starts pods of its own, which carry its name from the beginning"),
        (makes_others, "its template makes other objects than the pod"),
        (not supervised, "its kernels tell their connection themselves, and nothing in the pod can be told whose kernel it is"),
        (request.wanted.pod_name_pattern is not None, "KERNEL_POD_NAME asks for a name"),
        (
            _is_pulled_anew(container),
            "its image is pulled anew for each pod (imagePullPolicy: Always): one made before may be old",
        ),
        (any(_EXPANDS in text.replace("$$", "") for text in texts), "variables of its template refer to other variables"),
    )
    return next((words for holds, words in obstacles if holds), None)


def fingerprint(pod: Mapping[str, Any], *, kernel_id: str, connection: str) -> str:
    """Return what pods have in common that a start could have in place of this one.

    Parameters
    ----------
    kernel_id
        Of the kernel that the pod is for.
    connection
        What the connection file says beside keys and ports.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    kernel, *others = spec["containers"]
    same = {
        "version": _VERSION,
        "connection": connection,
        "namespace": metadata["namespace"],
        "labels": {name: value for name, value in metadata["labels"].items() if name not in _OF_A_KERNEL},
        "annotations": {name: value for name, value in metadata["annotations"].items() if name not in _OF_A_KERNEL},
        "spec": {
            **spec,
            "containers": [{**kernel, "env": _kept(kernel), "command": _without_id(kernel.get("command"), kernel_id)}, *others],
            "volumes": list(map(_without_secret, spec.get("volumes") or [])),
        },
    }
    return hashlib.sha256(json.dumps(same, sort_keys=True, default=str).encode()).hexdigest()[:32]


def claimed_environment(pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of a kernel's pod that can be given to a kernel that is about to begin."""
    return {entry["name"]: entry["value"].replace("$$", "$") for entry in _env(pod) if not _is_kept(entry)}


def pool_plan(plan: "LaunchPlan", *, pool_id: str) -> "LaunchPlan":
    """Return the plan of a pod for a pool, from that of a start that nobody asked for; nothing of a user is in it.

    Parameters
    ----------
    pool_id
        Tells the pod from others.
    """
    metadata, spec = plan.pod["metadata"], plan.pod["spec"]
    name = kernel_object_name(f"pool-{metadata['annotations'][labels.KERNEL_NAME_ANNOTATION]}", pool_id)
    names = KernelNames(pod=name, secret=secret_name(name, plan.launch_id), own_namespace=plan.names.own_namespace)
    component = {labels.COMPONENT: labels.COMPONENT_POOL, labels.RECOMMENDED_COMPONENT: labels.COMPONENT_POOL}

    def of_pool(written: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in written.items() if name not in _OF_A_KERNEL} | {
            labels.KERNEL_LAUNCH: plan.launch_id,
            **component,
        }

    kernel, *others = spec["containers"]
    # A node may go that only pods in waiting hold.
    left_out = {*_OF_A_KERNEL, *AUTOSCALER_ANNOTATIONS}
    kept = {name: value for name, value in metadata["annotations"].items() if name not in left_out}
    pod = {
        **plan.pod,
        "metadata": {
            **metadata,
            "name": name,
            "labels": of_pool(metadata["labels"]),
            "annotations": kept,
        },
        "spec": {
            **spec,
            "containers": [{**kernel, "env": _kept(kernel)}, *others],
            "volumes": [_with_secret(volume, names.secret) for volume in spec.get("volumes") or []],
        },
    }
    described = {**plan.secret["metadata"], "name": names.secret, "labels": of_pool(plan.labels), "annotations": kept}
    data = {entry: text for entry, text in plan.secret["data"].items() if entry != LAUNCH_RECORD}
    secret = {**plan.secret, "metadata": described, "data": data}
    return dataclasses.replace(plan, kernel_id=pool_id, names=names, pod=pod, secret=secret, labels=of_pool(plan.labels))


def claim_of_pod(plan: "LaunchPlan", *, uid: str, version: str, launch_id: str, at: str) -> Document:
    """Return the change that makes a pool's pod the kernel's of a plan, if nobody has changed it since it was seen.

    Parameters
    ----------
    uid, version
        The pod's, as it was seen.
    launch_id
        The start that made the pod, which remains the kernel's.
    at
        The time, as it is written on pods.
    """
    metadata = plan.pod["metadata"]
    return {
        "metadata": {
            "uid": uid,
            "resourceVersion": version,
            "labels": {**metadata["labels"], labels.KERNEL_LAUNCH: launch_id},
            "annotations": {**metadata["annotations"], labels.CLAIM_ANNOTATION: at},
        }
    }


def claim_of_secret(plan: "LaunchPlan", *, launch_id: str) -> Document:
    """Return the change that makes the Secret of a pool's pod the kernel's record; its keys stay what they are."""
    return {
        "metadata": {
            "labels": {**plan.labels, labels.KERNEL_LAUNCH: launch_id},
            "annotations": plan.secret["metadata"]["annotations"],
        },
        "data": {LAUNCH_RECORD: plan.secret["data"][LAUNCH_RECORD]},
    }


def _env(pod: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return pod["spec"]["containers"][0].get("env") or []


def _is_kept(entry: Mapping[str, Any]) -> bool:
    """Tell whether a variable must be in the pod when it is made."""
    return "value" not in entry or acts_at_start(str(entry.get("name", "")))


def _kept(container: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [entry for entry in container.get("env") or [] if _is_kept(entry)]


def _without_id(command: Sequence[str] | None, kernel_id: str) -> list[str] | None:
    """Return a command without the option by which the launcher is told the kernel's id, which it needs for nothing here."""
    if command is None:
        return None
    before = ["", *command]
    return [
        "" if argument == kernel_id and option in _KERNEL_ID_OPTIONS else argument
        for option, argument in zip(before, command, strict=False)
    ]


def _without_secret(volume: Mapping[str, Any]) -> Mapping[str, Any]:
    return _with_secret(volume, "")


def _with_secret(volume: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if volume.get("name") != CONNECTION_VOLUME:
        return volume
    return {**volume, "secret": {**volume["secret"], "secretName": name}}


def _is_pulled_anew(container: Mapping[str, Any]) -> bool:
    policy = container.get("imagePullPolicy")
    if policy:
        return bool(policy == _ALWAYS)
    reference = parse_image_reference(str(container.get("image", "")))
    return reference.tag == _LATEST
