"""Kernelspecs in an image of the user's own, whose kernels' images are on every node before anyone asks for a kernel."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.images import BASE_IMAGE, IMAGES, require_docker
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.release import Release, kubectl, listed, sole_use_of_namespace
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

pytestmark = [pytest.mark.cluster, pytest.mark.docker, pytest.mark.timeout(400)]

_ROOT = Path(__file__).parents[3]
_PACK = _ROOT / "build-support" / "pack_kernelspecs.py"
_MIGRATING = _ROOT / "docs" / "migrating-values.md"


@pytest.fixture
def organization(tmp_path: Path, cluster_registry: str) -> Iterator[str]:
    """Return the part before two new images' names in the registry that the nodes pull from: kernel-py:1 and kernelspecs:1."""
    engine = require_docker()
    made = f"deploy-{secrets.token_hex(3)}"
    pushed = [f"{cluster_registry}/{made}/{name}" for name in ("kernel-py", "kernelspecs")]
    engine.images.get(IMAGES["kernel-py"]).tag(pushed[0], "1")
    archive = tmp_path / "kernelspecs.tar.gz"
    subprocess.run([sys.executable, _PACK, "--images", made, "--tag", "1", "--archive", archive], check=True)
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE_IMAGE}\nADD kernelspecs.tar.gz /\n")
    engine.images.build(path=str(tmp_path), tag=f"{pushed[1]}:1")
    for name in pushed:
        _push(engine, name)
    yield made
    for name in pushed:
        engine.images.remove(f"{name}:1")
    engine.close()


def _push(engine: docker.DockerClient, name: str) -> None:
    # The library tells of a failure in the stream only.
    errors = [line["error"] for line in engine.images.push(name, "1", stream=True, decode=True) if "error" in line]
    assert errors == []


def test_kernels_of_an_own_kernelspecs_image_find_their_image_on_every_node(organization: str) -> None:
    image = f"{organization}/kernel-py:1"
    nodes = {each["metadata"]["name"] for each in listed("nodes")}
    with Release(values={"kernelspecs": {"image": f"{organization}/kernelspecs:1"}}) as release:
        release.install()
        gateway = release.gateway()
        kernelspecs = gateway.request("GET", "/api/kernelspecs").json()["kernelspecs"]
        assert _image_of(kernelspecs["python_kubernetes"]) == image

        # The kubelet itself says that it pulled for the puller, on every node, and no kernel has been there.
        wait_until(lambda: {each["source"]["host"] for each in _pulls(image, "Successfully pulled")} == nodes, 120)
        assert listed("pods", "-A", "-l", f"component=kernel,app.kubernetes.io/instance={release.instance}") == []

        for kernel_id in (gateway.start_kernel(), gateway.start_kernel()):
            with KernelSocket(gateway, kernel_id) as client:
                assert text_of(client.run("print(6 * 7)")) == "42\n"
            (pod,) = listed("pods", "-A", "-l", f"kernel_id={kernel_id}")
            events = [each for each in _pulls(image, "") if each["involvedObject"]["uid"] == pod["metadata"]["uid"]]
            assert [each["reason"] for each in events] == ["Pulled"]
            assert "already present on machine" in events[0]["message"]


@pytest.fixture
def older_release() -> Iterator[Release]:
    """Return the release that the tutorials of Enterprise Gateway install; it and its namespace go at the end."""
    name = "enterprise-gateway"
    with sole_use_of_namespace(name):
        release = Release(name=name, namespace=name)
        yield release
        release.helm("uninstall", "--ignore-not-found", "--wait", "--timeout", "120s")
        # Waits, so that the next test finds the namespace free.
        kubectl("delete", "namespace", name, "--ignore-not-found")


def test_the_command_of_the_older_tutorials_works_as_written(organization: str, older_release: Release) -> None:
    (written,) = re.findall(r"```bash\n(.*?)```", _MIGRATING.read_text(), re.DOTALL)
    commands = written.replace("registry.example.com/kernelspecs:1", f"{organization}/kernelspecs:1")
    assert commands != written
    done = subprocess.run(
        ["bash", "-ec", f'helm() {{ build-support/helm "$@"; }}\n{commands}'],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    assert "Flag --atomic has been deprecated" in done.stderr
    assert re.search(r"^ +replicas +deployment\.replicas$", done.stdout, re.MULTILINE)
    (deployment,) = listed("deployments", "-n", older_release.namespace)
    assert deployment["status"]["readyReplicas"] == 2
    gateway = older_release.gateway()
    kernelspecs = gateway.request("GET", "/api/kernelspecs").json()["kernelspecs"]
    assert _image_of(kernelspecs["python_kubernetes"]) == f"{organization}/kernel-py:1"
    with KernelSocket(gateway, gateway.start_kernel()) as client:
        assert text_of(client.run("print(6 * 7)")) == "42\n"


def _image_of(kernelspec: dict[str, Any]) -> str:
    return str(kernelspec["spec"]["metadata"]["kernel_provisioner"]["config"]["image_name"])


def _pulls(image: str, words: str) -> list[dict[str, Any]]:
    """Return what the kubelets say of an image."""
    events = listed("events", "-A", "--field-selector", "involvedObject.kind=Pod")
    return [each for each in events if f'"{image}"' in each["message"] and words in each["message"]]
