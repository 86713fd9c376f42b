"""The puller as a DaemonSet of a cluster, and what a test asks of that cluster."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from puller_waiting import wait_until

__all__ = ["MANIFESTS", "NODE_IMAGES", "Installation", "Kubectl", "kernel_pod"]

MANIFESTS = Path(__file__).resolve().parents[3] / "deploy" / "kubernetes"
NODE_IMAGES = "enterprise-gateway.jupyter.org/node-images"
_PULLERS = "enterprise-gateway.jupyter.org/role=puller"


@dataclass(frozen=True)
class Kubectl:
    """Calls kubectl with the cluster of KUBECONFIG."""

    program: str

    def __call__(self, *arguments: str, text: str | None = None) -> str:
        """Return what it prints; fail with what it says."""
        command = [self.program, *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=180)
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """Return what it prints as JSON."""
        found: dict[str, Any] = json.loads(self(*arguments, "-o", "json"))
        return found

    def nodes(self) -> list[str]:
        """Return the names of all nodes."""
        return sorted(item["metadata"]["name"] for item in self.json("get", "nodes")["items"])


@dataclass(frozen=True)
class Installation:
    """One of the manifests, in a namespace of its own and with an image of this checkout."""

    kubectl: Kubectl
    namespace: str
    image: str
    _applied: list[str] = field(default_factory=list)

    def apply(self, manifest: str, *, only_on: str = "", **settings: str) -> None:
        """Apply a manifest of deploy/kubernetes with these settings, for every node or only one."""
        documents = list(yaml.safe_load_all((MANIFESTS / manifest).read_text(encoding="utf-8")))
        for document in documents:
            self._rename(document, settings)
            if only_on and document["kind"] == "DaemonSet":
                document["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": only_on}
        text = "---\n".join(yaml.safe_dump(document) for document in documents)
        self._applied.append(text)
        self.kubectl("apply", "-f", "-", text=text)

    def _rename(self, document: dict[str, Any], settings: dict[str, str]) -> None:
        kind, metadata = document["kind"], document["metadata"]
        if "namespace" in metadata:
            metadata["namespace"] = self.namespace
        if kind in {"Namespace", "ClusterRole", "ClusterRoleBinding"}:
            metadata["name"] = self.namespace
        if kind == "ClusterRoleBinding":
            document["roleRef"]["name"] = self.namespace
        if kind == "ClusterRole" and settings.get("KIP_STARTUP_TAINT"):
            document["rules"][0]["verbs"] = ["get", "patch"]
        for subject in document.get("subjects", []):
            subject["namespace"] = self.namespace
        if kind == "DaemonSet":
            container = document["spec"]["template"]["spec"]["containers"][0]
            container["image"] = self.image
            kept = [entry for entry in container["env"] if entry["name"] not in settings]
            container["env"] = kept + [{"name": name, "value": value} for name, value in settings.items()]

    def remove(self) -> None:
        """Remove everything; a cluster that is going away anyway isn't waited for."""
        for text in self._applied:
            self.kubectl("delete", "--wait=false", "--ignore-not-found", "-f", "-", text=text)
        self.kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")

    def run(self, *arguments: str, text: str | None = None) -> str:
        """Call kubectl in this namespace."""
        return self.kubectl("-n", self.namespace, *arguments, text=text)

    def pods(self) -> dict[str, dict[str, Any]]:
        """Return node to the puller's pod there."""
        items = self.kubectl.json("-n", self.namespace, "get", "pods", "-l", _PULLERS)["items"]
        return {pod["spec"]["nodeName"]: pod for pod in items if pod["spec"].get("nodeName")}

    def told(self) -> dict[str, dict[str, str]]:
        """Return node to image to state, as the pods' annotations say."""
        texts = {node: pod["metadata"].get("annotations", {}).get(NODE_IMAGES, "") for node, pod in self.pods().items()}
        return {node: json.loads(text)["images"] if text else {} for node, text in texts.items()}

    def status(self, node: str) -> dict[str, Any]:
        """Return the page /status of a node's puller."""
        name = self.pods()[node]["metadata"]["name"]
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}:8890/proxy/status"
        found: dict[str, Any] = json.loads(self.kubectl("get", "--raw", path))
        return found

    def wait_until_ready(self, nodes: list[str], *, seconds: float = 120) -> None:
        """Wait until the pullers of these nodes have done their first round."""

        def ready() -> bool:
            pods = self.pods()
            return set(nodes) <= pods.keys() and all(_is_ready(pods[node]) for node in nodes)

        wait_until(ready, seconds=seconds, what=f"the pullers of {nodes} are ready")

    def wait_until_told(self, expected: dict[str, dict[str, str]], *, seconds: float = 60) -> None:
        """Wait until these nodes' pullers tell exactly these images and states."""

        def told() -> bool:
            found = self.told()
            return all(found.get(node) == images for node, images in expected.items())

        wait_until(told, seconds=seconds, what=f"{expected}")

    def start_without_registry(self, name: str, image: str, node: str, *, pull_secret: str = "") -> None:
        """Start a pod on a node from an image that must be there already."""
        pod = kernel_pod(name, image, node)
        if pull_secret:
            pod["spec"]["imagePullSecrets"] = [{"name": pull_secret}]
        self.run("apply", "-f", "-", text=json.dumps(pod))

    def wait_for_pod(self, name: str, *, seconds: float = 60) -> None:
        """Wait until a pod has run to its end."""
        wait_until(
            lambda: self.run("get", "pod", name, "-o", "jsonpath={.status.phase}") == "Succeeded",
            seconds=seconds,
            what=f"pod {name} has run",
        )


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(part["type"] == "Ready" and part["status"] == "True" for part in pod["status"].get("conditions", []))


def kernel_pod(name: str, image: str, node: str) -> dict[str, Any]:
    """Return a pod as restricted as a kernel's that may not pull its image."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "kernel",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "command": ["/noop"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
