"""From the documents of a template to the objects that the cluster is asked for."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from enterprise_gateway.errors import LaunchFailed, PolicyViolation
from enterprise_gateway.launch.run_script import check_runs_in_image
from enterprise_gateway_common import labels
from enterprise_gateway_common.connection import (
    CONNECTION_FILE,
    CONNECTION_FILE_VARIABLE,
    CONNECTION_FOLDER,
    EXECUTOR_TEMPLATE,
    EXECUTOR_TEMPLATE_VARIABLE,
)

__all__ = [
    "AUTOSCALER_ANNOTATIONS",
    "CONNECTION_VOLUME",
    "OWNED_KINDS",
    "MountedSecret",
    "ObjectMetadata",
    "check_pod",
    "complete_pod",
    "owned_documents",
    "split_documents",
]

AUTOSCALER_ANNOTATIONS = MappingProxyType(
    {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
)
"""What keeps node autoscalers from removing a kernel's node; a template's own annotation wins.

Set once, at creation: annotations that followed busy and idle would cost an API call for each cell."""

CONNECTION_VOLUME = "kernel-connection"
OWNED_KINDS = ("ConfigMap", "PersistentVolumeClaim", "Secret", "Service")
"""What a template may make beside its pod; each is owned by the pod and ends with it."""

_MAXIMUM_DOCUMENTS = 16
_GPU = "nvidia.com/gpu"
_READABLE_BY_GROUP = 0o440
_DEFAULT_GROUP = 100
_POD_ADDRESS = {"name": "KERNEL_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
_OWN_RESTARTS = ("restartPolicy", "restartPolicyRules")

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ObjectMetadata:
    """What identifies an object of a kernel, whatever its template says."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class MountedSecret:
    """What a kernel's container finds of the kernel's Secret, as files."""

    name: str
    keys: Sequence[str]


_FILE_VARIABLES = {CONNECTION_FILE: CONNECTION_FILE_VARIABLE, EXECUTOR_TEMPLATE: EXECUTOR_TEMPLATE_VARIABLE}


def split_documents(documents: Sequence[Document]) -> tuple[Document, list[Document]]:
    """Return a template's pod and its other documents.

    Raises
    ------
    LaunchFailed
        There isn't exactly one pod, there are too many documents, or one is of a kind that a template may not make.
    """
    if len(documents) > _MAXIMUM_DOCUMENTS:
        raise LaunchFailed(f"The kernelspec's pod template makes more than {_MAXIMUM_DOCUMENTS} documents.")
    pods = [document for document in documents if document.get("kind") == "Pod"]
    others = [document for document in documents if document.get("kind") != "Pod"]
    if len(pods) != 1:
        raise LaunchFailed(f"The kernelspec's pod template makes {len(pods)} pods; it must make one.")
    for document in others:
        if document.get("kind") not in OWNED_KINDS or document.get("apiVersion") != "v1":
            known = ", ".join(OWNED_KINDS)
            raise LaunchFailed(f"The kernelspec's pod template makes an object that isn't one of Pod, {known} (all v1).")
    return pods[0], others


def complete_pod(  # noqa: PLR0913  each is a fact of its own, named at every call
    template: Document,
    *,
    metadata: ObjectMetadata,
    environment: Mapping[str, str],
    command: Sequence[str] | None,
    service_account: str,
    secret: MountedSecret,
    pull_secrets: Sequence[str] = (),
    node_selector: Mapping[str, str] = MappingProxyType({}),
    image_pull_policy: str | None = None,
    starts_pods: bool = False,
) -> Document:
    """Return the pod of a kernel: the template's, with what every kernel's pod has.

    Parameters
    ----------
    environment
        Whole environment of the kernel; it wins over variables of the same name in the template.
    command
        What runs in the kernel's container where the template doesn't say; `None` for what its image runs.
    secret
        The Secret of the kernel's connection file, which isn't there where the kernel chooses its own, and of the template
        of the pods that the kernel starts.
    node_selector, image_pull_policy
        What the kernelspec says beside its template, for who places its image; the template's own word wins.
    starts_pods
        Whether the kernel needs its account's token and its own address, for the pods that it starts.

    Raises
    ------
    LaunchFailed
        The template's pod has not the shape of a pod.
    NotSupported
        The command isn't one of the kernel's image.
    """
    spec = _mapping(template, "spec")
    containers, init_containers = _container_list(spec, "containers"), _container_list(spec, "initContainers")
    if not containers:
        raise LaunchFailed("The kernelspec's pod template makes a pod without containers.")
    account = spec.get("serviceAccountName") or service_account
    spec = {
        **spec,
        "restartPolicy": "Never",
        "serviceAccountName": account,
        # A kernel runs whatever its user likes: without pods to start it gets a service account's token only where the
        # template says so.
        "automountServiceAccountToken": spec.get("automountServiceAccountToken", starts_pods),
        "enableServiceLinks": spec.get("enableServiceLinks", False),
        "containers": [
            _kernel_container(containers[0], environment, command, secret, [_POD_ADDRESS] if starts_pods else []),
            *map(_any_container, containers[1:]),
        ],
    }
    if init_containers:
        spec["initContainers"] = list(map(_any_container, init_containers))
    if node_selector:
        spec["nodeSelector"] = {**node_selector, **_mapping(spec, "nodeSelector")}
    if image_pull_policy is not None:
        spec["containers"][0].setdefault("imagePullPolicy", image_pull_policy)
    if pull_secrets:
        spec["imagePullSecrets"] = [*spec.get("imagePullSecrets", []), *({"name": secret} for secret in pull_secrets)]
    if secret.keys:
        spec["volumes"] = [*(spec.get("volumes") or []), _connection_volume(secret)]
        # The Secret's files belong to root and the pod's group; without a group the kernel's user couldn't read them.
        spec["securityContext"] = {"fsGroup": _DEFAULT_GROUP, **_mapping(spec, "securityContext")}
    described = _metadata(template, metadata)
    written = {**AUTOSCALER_ANNOTATIONS, **described["annotations"]}
    described["annotations"] = _with_container_names(written, str(containers[0].get("name", "")))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": described, "spec": spec}


def check_pod(pod: Document, *, gateway_namespace: str | None, gateway_service_account: str | None) -> None:
    """Return when a pod doesn't act as the gateway.

    Raises
    ------
    PolicyViolation
        It would have the gateway's own service account, which may read the keys of every kernel.
    """
    same_namespace = pod["metadata"]["namespace"] == gateway_namespace
    if same_namespace and pod["spec"]["serviceAccountName"] == gateway_service_account:
        raise PolicyViolation("Kernels may not run as the gateway's own service account.")


def owned_documents(documents: Sequence[Document], *, metadata: ObjectMetadata) -> list[Document]:
    """Return a template's other documents, in the kernel's namespace and with its labels.

    Raises
    ------
    LaunchFailed
        One has no name.
    """
    completed = []
    for document in documents:
        name = _mapping(document, "metadata").get("name")
        if not isinstance(name, str) or not name:
            raise LaunchFailed(f"The kernelspec's pod template makes a {document['kind']} without a name.")
        completed.append({**document, "metadata": _metadata(document, dataclasses.replace(metadata, name=name))})
    return completed


def _metadata(document: Document, ours: ObjectMetadata) -> Document:
    written = _mapping(document, "metadata")
    return {
        "name": ours.name,
        "namespace": ours.namespace,
        "labels": {**_texts(written, "labels"), **ours.labels},
        "annotations": {**_texts(written, "annotations"), **ours.annotations},
    }


def _with_container_names(annotations: Mapping[str, str], kernel_container: str) -> dict[str, str]:
    # Admission may put containers of its own before the kernel's, as service meshes do; then its place says nothing.
    return {
        labels.DEFAULT_CONTAINER_ANNOTATION: kernel_container,
        **annotations,
        labels.KERNEL_CONTAINER_ANNOTATION: kernel_container,
    }


def _container_list(spec: Document, key: str) -> list[Document]:
    containers = spec.get(key) or []
    if not isinstance(containers, list) or not all(isinstance(item, dict) for item in containers):
        raise LaunchFailed(f"The kernelspec's pod template: {key} isn't a list of containers.")
    return containers


def _kernel_container(
    container: Document,
    environment: Mapping[str, str],
    command: Sequence[str] | None,
    secret: MountedSecret,
    of_pod: Sequence[Document],
) -> Document:
    container = _any_container(container)
    # What becomes of a kernel that ended is the gateway's to decide, and it does so by the pod.
    for field in _OWN_RESTARTS:
        container.pop(field, None)
    written = container.get("env") or []
    if not isinstance(written, list) or not all(isinstance(entry, dict) for entry in written):
        raise LaunchFailed("The kernelspec's pod template: env of the kernel's container isn't a list of variables.")
    variables = dict(environment)
    variables |= {_FILE_VARIABLES[key]: f"{CONNECTION_FOLDER}/{key}" for key in secret.keys}
    if secret.keys:
        mount = {"name": CONNECTION_VOLUME, "mountPath": CONNECTION_FOLDER, "readOnly": True}
        container["volumeMounts"] = [*(container.get("volumeMounts") or []), mount]
    # The kubelet expands $(NAME); a doubled $ comes out as one, so that every value reaches the kernel as it was given.
    texts = [{"name": name, "value": value.replace("$", "$$")} for name, value in sorted(variables.items())]
    named = {entry["name"] for entry in of_pod}
    own = [*(entry for entry in texts if entry["name"] not in named), *of_pod]
    named |= variables.keys()
    container["env"] = [*(entry for entry in written if entry.get("name") not in named), *own]
    if command is not None and not container.get("command"):
        check_runs_in_image(command, environment)
        container["command"] = [argument.replace("$", "$$") for argument in command]
    return container


def _any_container(container: Document) -> Document:
    # With its last lines of output a crash explains itself, to a gateway that may not read logs too.
    return {"terminationMessagePolicy": "FallbackToLogsOnError", **_with_complete_resources(container)}


def _with_complete_resources(container: Document) -> Document:
    """Return a container whose GPU request has the limit that Kubernetes demands beside it."""
    resources = container.get("resources")
    if not isinstance(resources, dict):
        return dict(container)
    requests = {name: amount for name, amount in _mapping(resources, "requests").items() if amount is not None}
    limits = {name: amount for name, amount in _mapping(resources, "limits").items() if amount is not None}
    if _GPU in requests or _GPU in limits:
        # Both must be the same; the limit is what the device plugin gives.
        limits[_GPU] = requests[_GPU] = limits.get(_GPU, requests.get(_GPU))
    return {**container, "resources": {**resources, "requests": requests, "limits": limits}}


def _connection_volume(secret: MountedSecret) -> Document:
    # Only these: the Secret's other entries are the gateway's.
    items = [{"key": key, "path": key} for key in secret.keys]
    return {"name": CONNECTION_VOLUME, "secret": {"secretName": secret.name, "items": items, "defaultMode": _READABLE_BY_GROUP}}


def _mapping(document: Mapping[str, Any], key: str) -> Document:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise LaunchFailed(f"The kernelspec's pod template: {key} isn't a mapping.")
    return value


def _texts(metadata: Mapping[str, Any], key: str) -> dict[str, str]:
    # A label of digits is a number to YAML and must be a text to Kubernetes.
    return {name: str(value) for name, value in _mapping(metadata, key).items() if value is not None}
