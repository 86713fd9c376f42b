"""The static manifest, by the commands that stand at its head."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.release import GATEWAY_IMAGE, PULLER_IMAGE, InstalledGateway, kubectl, listed, sole_use_of_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_MANIFEST = Path(__file__).parents[3] / "deploy" / "kubernetes" / "enterprise-gateway.yaml"
_NAMESPACE = "enterprise-gateway"
_KINDS = "namespaces,pods,services,deployments,daemonsets,secrets,configmaps,clusterroles,clusterrolebindings"


def _said(word: str) -> list[str]:
    """Return the commands at the manifest's head that begin a paragraph with this word."""
    head = "".join(line[2:] + "\n" for line in _MANIFEST.read_text().splitlines() if line.startswith("#"))
    (paragraph,) = re.findall(rf"^{word}.*?:\n\n((?: .*\n)+)", head, re.MULTILINE)
    return [line.strip() for line in paragraph.splitlines()]


def _do(commands: list[str], folder: Path) -> str:
    done = subprocess.run(["bash", "-ec", "\n".join(commands)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with the manifest of the images under test; whatever it makes goes at the end."""
    text = _MANIFEST.read_text()
    text = text.replace("elyra/enterprise-gateway:dev", GATEWAY_IMAGE).replace("elyra/kernel-image-puller:dev", PULLER_IMAGE)
    (tmp_path / _MANIFEST.name).write_text(text)
    with sole_use_of_namespace(_NAMESPACE):
        yield tmp_path
        # Waits, so that the next test finds the namespace free.
        kubectl("delete", "-f", str(tmp_path / _MANIFEST.name), "--ignore-not-found")


def test_install_use_and_uninstall_by_the_commands_of_its_head(folder: Path) -> None:
    apply, secret, rollout = _said("Install")
    _do([apply, secret, f"{rollout} --timeout=180s"], folder)
    port, token, _ = _said("Use")
    values = _do([port, token, 'echo "$PORT $TOKEN"'], folder).split()
    (node, *_) = listed("nodes")
    host = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
    gateway = InstalledGateway(url=f"http://{host}:{values[0]}", token=values[1])

    kernel_id = gateway.start_kernel()
    with KernelSocket(gateway, kernel_id) as client:
        assert text_of(client.run("print(6 * 7)")) == "42\n"

    _do(_said("Uninstall"), folder)
    end = time.monotonic() + 120
    while left := _left():
        assert time.monotonic() < end, left
        time.sleep(1)


def _left() -> list[str]:
    items = json.loads(kubectl("get", _KINDS, "-A", "-l", "app=enterprise-gateway", "-o", "json"))["items"]
    # Other installations of this cluster have other instances.
    own = {"app.kubernetes.io/instance": "enterprise-gateway"}.items()
    names = (f"{each['kind']}/{each['metadata']['name']}" for each in items if own <= each["metadata"]["labels"].items())
    return [*names, *(each["metadata"]["name"] for each in listed("namespaces", f"--field-selector=metadata.name={_NAMESPACE}"))]


def test_without_the_token_nothing_listens(folder: Path) -> None:
    _do([_said("Install")[0]], folder)
    end = time.monotonic() + 60
    reasons: set[str] = set()
    while "CreateContainerConfigError" not in reasons:
        assert time.monotonic() < end, reasons
        time.sleep(1)
        pods = listed("pods", "-n", _NAMESPACE, "-l", "component=enterprise-gateway")
        states = [status["state"] for pod in pods for status in pod["status"].get("containerStatuses", ())]
        reasons = {state["waiting"]["reason"] for state in states if "waiting" in state}
