"""The manifests of deploy/kubernetes as an operator applies them, with the puller of this checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from puller_support import push_image, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.cluster, pytest.mark.docker, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
IMAGE = "kip-e2e/kernel-image-puller:e2e"
TAINT = "kip-e2e.example.org/images-not-ready"
NODE_IMAGES = "enterprise-gateway.jupyter.org/node-images"


def _run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def puller_image(
    need: Callable[[object, str], object], docker_host: str, cluster_registry: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Returns the name of an image with the puller of this checkout, in the cluster's registry."""
    docker = str(need(shutil.which("docker"), "the docker command is not on the PATH"))
    context = tmp_path_factory.mktemp("image")
    shutil.copy(HERE / "image" / "Dockerfile", context)
    packages = [str(ROOT / "packages" / name) for name in ("common", "kip")]
    _run(sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(context / "site"), *packages)
    for script in (context / "site" / "bin").iterdir():
        lines = script.read_text(encoding="utf-8").split("\n", 1)
        script.write_text("#!/usr/bin/env python3\n" + lines[1], encoding="utf-8")
    base = os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm")
    _run(
        docker,
        "-H",
        docker_host,
        "build",
        "-q",
        "--build-arg",
        f"BASE_IMAGE={base}",
        "-t",
        f"{cluster_registry}/{IMAGE}",
        str(context),
    )
    _run(docker, "-H", docker_host, "push", "-q", f"{cluster_registry}/{IMAGE}")
    return IMAGE


@pytest.fixture
def install(kubectl: str, puller_image: str) -> Iterator[Callable[..., str]]:
    """Applies a manifest under a namespace of its own, with these settings; everything is removed afterwards."""
    applied: list[str] = []

    def apply(manifest: str, namespace: str, **settings: str) -> str:
        documents = list(yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / manifest).read_text(encoding="utf-8")))
        for document in documents:
            _rename(document, namespace, puller_image, settings)
        text = "---\n".join(yaml.safe_dump(document) for document in documents)
        applied.append(text)
        _run(kubectl, "apply", "-f", "-", text=text)
        return namespace

    yield apply
    for text in applied:
        _run(kubectl, "delete", "--wait=false", "-f", "-", text=text)


def _rename(document: dict[str, Any], namespace: str, image: str, settings: dict[str, str]) -> None:
    kind, metadata = document["kind"], document["metadata"]
    if "namespace" in metadata:
        metadata["namespace"] = namespace
    if kind in {"Namespace", "ClusterRole", "ClusterRoleBinding"}:
        metadata["name"] = namespace
    if kind == "ClusterRoleBinding":
        document["roleRef"]["name"] = namespace
    if kind == "ClusterRole":
        document["rules"][0]["verbs"] = ["get", "patch"]
    for subject in document.get("subjects", []):
        subject["namespace"] = namespace
    if kind == "DaemonSet":
        container = document["spec"]["template"]["spec"]["containers"][0]
        container["image"] = image
        kept = [entry for entry in container["env"] if entry["name"] not in settings]
        container["env"] = kept + [{"name": name, "value": value} for name, value in settings.items()]


def _pods(kubectl: str, namespace: str) -> list[dict[str, Any]]:
    selector = "enterprise-gateway.jupyter.org/role=puller"
    items: list[dict[str, Any]] = json.loads(_run(kubectl, "-n", namespace, "get", "pods", "-l", selector, "-o", "json"))["items"]
    return items


def _ready(pod: dict[str, Any]) -> bool:
    return any(part["type"] == "Ready" and part["status"] == "True" for part in pod["status"].get("conditions", []))


def _told(pod: dict[str, Any]) -> dict[str, str]:
    text = pod["metadata"].get("annotations", {}).get(NODE_IMAGES, "")
    images: dict[str, str] = json.loads(text)["images"] if text else {}
    return images


@pytest.mark.parametrize("manifest", ["kernel-image-puller.yaml", "kernel-image-puller-socket.yaml"], ids=["kubelet", "socket"])
def test_every_node_has_the_images_and_says_so(
    kubectl: str, cluster_registry: str, install: Callable[..., str], manifest: str
) -> None:
    mark = os.urandom(4).hex()
    push_image(cluster_registry, f"kip-e2e/wanted-{mark}", "1")
    wanted, missing = f"docker.io/kip-e2e/wanted-{mark}:1", f"docker.io/kip-e2e/missing-{mark}:1"
    nodes = _run(kubectl, "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()
    _run(kubectl, "taint", "node", nodes[0], f"{TAINT}=true:PreferNoSchedule", "--overwrite")
    namespace = install(
        manifest,
        f"kip-e2e-{mark}",
        KIP_IMAGE_FETCHER="StaticListFetcher",
        KIP_IMAGES=f"{wanted},{missing}",
        KIP_STARTUP_TAINT=TAINT,
        KIP_INTERVAL="10",
    )

    def all_ready() -> bool:
        pods = _pods(kubectl, namespace)
        return len(pods) == len(nodes) and all(_ready(pod) for pod in pods)

    wait_until(all_ready, seconds=120, what="every pod is ready")
    expected = {wanted: "present", missing: "failed"}
    wait_until(lambda: all(_told(pod) == expected for pod in _pods(kubectl, namespace)), seconds=20, what="the annotations")
    events = _run(kubectl, "-n", namespace, "get", "events", "--field-selector", "reason=ImageNotPulled", "-o", "json")
    told = {(event["involvedObject"]["name"], missing in event["message"]) for event in json.loads(events)["items"]}
    assert told == {(pod["metadata"]["name"], True) for pod in _pods(kubectl, namespace)}
    taints = _run(kubectl, "get", "node", nodes[0], "-o", "jsonpath={.spec.taints}")
    assert TAINT not in taints
    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe"},
        "spec": {
            "nodeName": nodes[0],
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "kernel",
                    "image": wanted,
                    "imagePullPolicy": "Never",
                    "command": ["/noop"],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
    _run(kubectl, "-n", namespace, "apply", "-f", "-", text=json.dumps(probe))
    wait_until(
        lambda: _run(kubectl, "-n", namespace, "get", "pod", "probe", "-o", "jsonpath={.status.phase}") == "Succeeded",
        seconds=30,
        what="a pod starts from the image without any registry",
    )
