"""The pods by which a kubelet is made to pull an image: pure, the same pod for the same input.

Both kinds are admitted under the restricted pod security standard, need no privilege and are bound to one node, so that
no scheduler and no taint comes between.

A kubelet remembers under which name, as it is written, pods may use an image: what was pulled as docker.io/elyra/kernel-py
is refused to a pod that may not pull and says elyra/kernel-py. So one pod names the image in every way that is in use.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from enterprise_gateway_common import labels
from enterprise_gateway_common.image_reference import ImageReference
from kernel_image_puller.runtimes.protocol import PullOrder

__all__ = ["PULL_CONTAINER", "PULL_POD_ROLE", "TOOLS_CONTAINER", "PodMaker"]

PULL_POD_ROLE = "image-pull"
PULL_CONTAINER = "pull"
"""What the names of the containers begin with that can start only when the image is there."""
TOOLS_CONTAINER = "tools"
"""The name of the container that brings the program which the others run."""
ROLE_LABEL = labels.ANNOTATION_PREFIX + "role"
NODE_LABEL = labels.ANNOTATION_PREFIX + "node"
_IMAGE_ANNOTATION = labels.ANNOTATION_PREFIX + "image"
_NOBODY = 65534
_TOOLS = "/kip-tools"
_LONGEST_LABEL = 63
# No share of a processor: where all of it is spoken for, the kubelet turns a pod away that asks for any. Left out, the request
# would be the limit's.
_REQUESTS = {"cpu": "0", "memory": "16Mi"}
_LIMITS = {"cpu": "500m", "memory": "128Mi"}


@dataclass(frozen=True, kw_only=True)
class PodMaker:
    """Makes the pods of one puller.

    Parameters
    ----------
    node
        The node that the pods are bound to.
    owner
        The puller's own pod: the pods end with it, and get its pull secrets, service account and priority.
    helper_image
        The image whose program ends at once, usually the puller's own, which is on the node already.
    """

    node: str
    owner: dict[str, Any]
    helper_image: str

    @property
    def selector(self) -> str:
        """The label selector of all pods that this installation's puller makes on this node."""
        return ",".join(f"{label}={value}" for label, value in self._own_labels.items())

    def name(self, reference: ImageReference) -> str:
        """Return the pod's name: the same image on the same node has the same one, so it is never pulled twice.

        The puller of another installation in the namespace has other names, so that neither removes the other's pods.
        """
        digest = hashlib.sha256(f"{self._instance} {self.node} {reference}".encode()).hexdigest()[:20]
        return f"kip-pull-{digest}"

    def with_image_volume(self, order: PullOrder) -> dict[str, Any]:
        """Return a pod that mounts the image and runs nothing of it."""
        helper = self._container(PULL_CONTAINER, self.helper_image, ["kernel-image-puller", "--version"], "IfNotPresent")
        volumes = [
            {"name": f"image-{number}", "image": {"reference": name, "pullPolicy": order.policy.value}}
            for number, name in enumerate(_names(order))
        ]
        helper["volumeMounts"] = [
            {"name": volume["name"], "mountPath": f"/{volume['name']}", "readOnly": True} for volume in volumes
        ]
        return self._pod(order.reference, {"containers": [helper], "volumes": volumes})

    def with_noop_program(self, order: PullOrder) -> dict[str, Any]:
        """Return a pod that starts the image with a program that does nothing."""
        mount = {"name": "tools", "mountPath": _TOOLS}
        helper = self._container(
            TOOLS_CONTAINER, self.helper_image, ["kernel-image-puller", "write-noop", f"{_TOOLS}/noop"], "IfNotPresent"
        )
        helper["volumeMounts"] = [mount]
        targets = [
            self._container(f"{PULL_CONTAINER}-{number}", name, [f"{_TOOLS}/noop"], order.policy.value)
            for number, name in enumerate(_names(order))
        ]
        for target in targets:
            target["volumeMounts"] = [{**mount, "readOnly": True}]
        volume = {"name": "tools", "emptyDir": {"sizeLimit": "1Mi"}}
        return self._pod(order.reference, {"initContainers": [helper], "containers": targets, "volumes": [volume]})

    @property
    def _instance(self) -> str:
        """What tells this installation from others in its namespace, also after its puller's pod was replaced."""
        metadata = self.owner.get("metadata", {})
        controllers = [reference["name"] for reference in metadata.get("ownerReferences") or () if reference.get("controller")]
        return str((metadata.get("labels") or {}).get(labels.INSTANCE) or next(iter(controllers), metadata.get("name", "")))

    @property
    def _own_labels(self) -> dict[str, str]:
        return {
            ROLE_LABEL: PULL_POD_ROLE,
            NODE_LABEL: _label_value(self.node),
            labels.INSTANCE: _label_value(self._instance),
        }

    def _container(self, name: str, image: str, command: list[str], pull_policy: str) -> dict[str, Any]:
        return {
            "name": name,
            "image": image,
            "command": command,
            "workingDir": "/",
            "imagePullPolicy": pull_policy,
            "resources": {"requests": _REQUESTS, "limits": _LIMITS},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }

    def _pod(self, reference: ImageReference, spec: dict[str, Any]) -> dict[str, Any]:
        owner_meta, owner_spec = self.owner.get("metadata", {}), self.owner.get("spec", {})
        inherited = {
            key: owner_spec[key] for key in ("imagePullSecrets", "serviceAccountName", "priorityClassName") if owner_spec.get(key)
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name(reference),
                "labels": {
                    labels.APP: labels.APP_VALUE,
                    labels.COMPONENT: labels.COMPONENT_PULLER,
                    **self._own_labels,
                },
                "annotations": {_IMAGE_ANNOTATION: str(reference)},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "name": owner_meta.get("name", ""), "uid": owner_meta.get("uid", "")}
                ],
            },
            "spec": {
                **inherited,
                **spec,
                "nodeName": self.node,
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 0,
                "tolerations": [{"operator": "Exists"}],
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": _NOBODY,
                    "runAsGroup": _NOBODY,
                    "fsGroup": _NOBODY,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
            },
        }


def _names(order: PullOrder) -> tuple[str, ...]:
    return order.written or (str(order.reference),)


def _label_value(name: str) -> str:
    if len(name) <= _LONGEST_LABEL:
        return name
    return name[: _LONGEST_LABEL - 9] + "-" + hashlib.sha256(name.encode()).hexdigest()[:8]
