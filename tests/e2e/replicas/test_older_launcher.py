"""A kernel whose launcher tells its connection to the gateway: the older one, as it was delivered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.support.installation import NAME, address_for_pods
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.older_launcher import build_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.installation import Installation

pytestmark = [pytest.mark.cluster, pytest.mark.docker, pytest.mark.timeout(400)]

OLDER = "older_launcher"
ARGV = ["python", "/usr/local/share/jupyter/kernels/python_kubernetes/scripts/launch_kubernetes.py"]
OPTIONS = {
    "kernel-id": "{kernel_id}",
    "port-range": "{port_range}",
    "response-address": "{response_address}",
    "public-key": "{public_key}",
    "spark-context-initialization-mode": "none",
}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "version"], check=False, capture_output=True).returncode:
        if os.environ.get("REQUIRE_E2E") == "1":
            pytest.fail("there is no Docker engine")
        pytest.skip("there is no Docker engine")
    return build_image(tmp_path_factory.mktemp("older"), registry=os.environ.get("REGISTRY", "127.0.0.1:5000"))


@pytest.fixture
def kernelspec(installation: Installation, image: str, tmp_path: Path) -> str:
    """Install a kernelspec as the older deployment has it."""
    argv = [*ARGV, *(part for name, value in OPTIONS.items() for part in (f"--RemoteProcessProxy.{name}", value))]
    installation.add_kernelspec(OLDER, argv=argv)
    file = tmp_path / "share" / "kernels" / OLDER / "kernel.json"
    spec = json.loads(file.read_text())
    class_name = "enterprise_gateway.services.processproxies.k8s.KubernetesProcessProxy"
    spec["metadata"] = {"process_proxy": {"class_name": class_name, "config": {"image_name": image}}}
    file.write_text(json.dumps(spec))
    return OLDER


def run(server, kernel_id, code):
    with KernelSocket(server, kernel_id) as client:
        return text_of(client.run(code))


def test_the_older_launcher_works_unmodified_at_every_replica_and_after_a_restart(replicas, kernelspec, until, cluster):
    one, other = replicas(RESPONSE_IP=address_for_pods(), RESPONSE_PORT_RETRIES="20")
    kernel_id = one.start_kernel(kernelspec)
    assert run(one, kernel_id, "x = 6; print(x)") == "6\n"
    with KernelSocket(other, kernel_id) as client:
        assert text_of(client.run("print(7 * x)")) == "42\n"
        sent = client.execute("import time; time.sleep(60)")
        until(lambda: one.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "busy")
        assert one.request("POST", f"/api/kernels/{kernel_id}/interrupt").status_code == 204
        assert any(message.type == "error" for message in client.collect(sent))
        # Its keys and ports are new after a restart, which the other replica does, and this client stays.
        assert one.request("POST", f"/api/kernels/{kernel_id}/restart").status_code == 200
        until(lambda: other.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle")
        assert text_of(client.run("print('x' in globals())")) == "False\n"
    other.stop_kernel(kernel_id)
    until(lambda: cluster.objects(kernel_id) == [])


def test_a_killed_gateway_finds_such_a_kernel_again(installation, kernelspec):
    gateway = installation.gateway(RESPONSE_IP=address_for_pods(), RESPONSE_PORT_RETRIES="20").start(90)
    kernel_id = gateway.start_kernel(kernelspec)
    run(gateway, kernel_id, "kept = 1")
    gateway.kill()
    gateway.start(90)
    assert run(gateway, kernel_id, "print(kept)") == "1\n"
    # The usual kind is started beside it: the listener is no kernelspec's business but this one's.
    assert run(gateway, gateway.start_kernel(NAME), "print(2)") == "2\n"
