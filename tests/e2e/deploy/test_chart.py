"""An installation from its first minute to its last, and the ways in which it can be arranged."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import threading
import time

import pytest
import websocket
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.release import PULLER_IMAGE, InstalledGateway, Release, kubectl, listed
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

_LINES = 200
_COUNTING = f"import time\nfor line in range({_LINES}):\n    print(line, flush=True)\n    time.sleep(0.2)"


def run(gateway: InstalledGateway, kernel_id: str, code: str = "print(6 * 7)") -> str:
    with KernelSocket(gateway, kernel_id) as client:
        return text_of(client.run(code))


class _Client:
    """Runs one cell and connects again, as JupyterLab does, whenever its websocket is closed."""

    def __init__(self, gateway: InstalledGateway, kernel_id: str) -> None:
        self._gateway = gateway
        self._kernel_id = kernel_id
        self._session = "one-session"
        self.printed = ""
        self.connections = 0
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()
        wait_until(lambda: "\n" in self.printed, 60)

    def wait(self) -> str:
        self._thread.join(120)
        assert not self._thread.is_alive()
        return self.printed

    def _run(self) -> None:
        cell, end = "", time.monotonic() + 100
        # The first time at once, then more slowly: between two gateways nobody may listen for a moment.
        pauses = itertools.chain([0.0], itertools.repeat(0.5))
        while time.monotonic() < end:
            try:
                with KernelSocket(self._gateway, self._kernel_id, session=self._session) as client:
                    self.connections += 1
                    cell = cell or client.execute(_COUNTING).id
                    for message in client.messages(100):
                        if message.parent != cell:
                            continue
                        self.printed += text_of([message])
                        if message.type == "status" and message.content["execution_state"] == "idle":
                            return
            except (AssertionError, OSError, websocket.WebSocketException):
                time.sleep(next(pauses))


def test_install_test_upgrade_while_a_cell_runs_roll_back_and_uninstall() -> None:
    with Release() as release:
        notes = release.install()
        assert f"kubectl -n {release.namespace} get secret {release.full_name}-token" in notes
        assert "Phase:          Succeeded" in release.helm("test", "--timeout", "120s")

        gateway = release.gateway()
        kernel_id = gateway.start_kernel()
        client = _Client(gateway, kernel_id)
        client.start()
        release.install(deployment={"replicas": 2}, logLevel="DEBUG")
        # The gateway that ends stays with its client until the cell has ended.
        assert client.wait().split() == [str(line) for line in range(_LINES)]
        assert client.connections == 1
        assert release.gateway().token == gateway.token
        assert listed("poddisruptionbudgets", "-n", release.namespace)

        release.helm("rollback", "--wait", "--timeout", "120s")
        assert run(release.gateway(), kernel_id) == "42\n"

        release.helm("uninstall", "--wait", "--timeout", "300s")
        assert release.objects() == []


def test_the_output_of_a_cell_arrives_whole_over_an_upgrade() -> None:
    with Release() as release:
        release.install()
        gateway = release.gateway()
        client = _Client(gateway, gateway.start_kernel())
        client.start()
        release.install(deployment={"replicas": 2})

        assert client.wait().split() == [str(line) for line in range(_LINES)]


def test_images_are_on_every_node_before_a_kernel_asks() -> None:
    with Release() as release:
        release.install()

        nodes = {each["metadata"]["name"]: "present" for each in listed("nodes")}

        def states() -> list[dict[str, str]]:
            images = release.gateway().request("GET", "/api/images").json()["images"]
            return [each["nodes"] for each in images if "elyra/kernel-py" in each["image"]]

        # The puller is ready first, and tells the gateway at the end of its round.
        wait_until(lambda: states() == [nodes], 60)


def test_kernels_that_are_kept_are_taken_over_by_the_next_installation() -> None:
    with Release(values={"kernel": {"onUninstall": "keep"}}) as release:
        release.install()
        gateway = release.gateway()
        kernel_id = gateway.start_kernel()
        run(gateway, kernel_id, "kept = 'still here'")

        release.helm("uninstall", "--wait", "--timeout", "120s")
        assert [
            name for name in release.objects() if not name.startswith(("Pod/", "Secret/", "Namespace/", "RoleBinding/"))
        ] == []
        release.install()

        assert run(release.gateway(), kernel_id, "print(kept)") == "still here\n"


def test_two_releases_in_one_namespace_and_one_in_another_dont_see_each_others_kernels() -> None:
    with Release() as first, Release(name="second", namespace=first.namespace) as second, Release() as third:
        gateways = []
        for release in (first, second, third):
            release.install()
            gateways.append(release.gateway())
        kernels = [gateway.start_kernel() for gateway in gateways]

        for gateway, kernel_id in zip(gateways, kernels, strict=True):
            assert [each["id"] for each in gateway.request("GET", "/api/kernels").json()] == [kernel_id]
            assert run(gateway, kernel_id) == "42\n"
        second.helm("uninstall", "--wait", "--timeout", "300s")
        assert second.objects() == []
        assert run(gateways[0], kernels[0]) == "42\n"


def test_with_a_shared_namespace_kernels_run_beside_the_gateway_with_rights_in_no_other_namespace() -> None:
    with Release(values={"kernel": {"shareGatewayNamespace": True}}) as release:
        release.install()
        gateway = release.gateway()
        kernel_id = gateway.start_kernel()

        (pod,) = listed("pods", "-n", release.namespace, "-l", f"kernel_id={kernel_id}")
        assert pod["spec"]["serviceAccountName"] == "default"
        assert run(gateway, kernel_id) == "42\n"
        account = f"system:serviceaccount:{release.namespace}:enterprise-gateway-sa"
        assert _allowed(account, "create", "pods", release.namespace)
        assert not _allowed(account, "list", "secrets", "default")
        assert not _allowed(account, "create", "namespaces", "default")
        release.helm("uninstall", "--wait", "--timeout", "300s")
        assert release.objects() == []


def _allowed(account: str, verb: str, resource: str, namespace: str) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": account, "resourceAttributes": {"verb": verb, "resource": resource, "namespace": namespace}},
    }
    return bool(json.loads(kubectl("create", "-f", "-", "-o", "json", text=json.dumps(review)))["status"]["allowed"])


@pytest.mark.parametrize("fixed", [False, True], ids=["beside others", "only these"])
def test_clients_may_name_the_namespaces_that_are_given(*, fixed: bool) -> None:
    with Release() as release:
        team = f"{release.namespace}-team"
        kubectl("create", "namespace", team)
        try:
            release.install(kernel={"namespaces": [team], "fixedNamespaces": fixed})
            account = f"system:serviceaccount:{release.namespace}:enterprise-gateway-sa"
            assert _allowed(account, "create", "pods", team)
            assert _allowed(account, "create", "pods", "default") is not fixed
            gateway = release.gateway()
            # Without a name it gets the first of them where there are no others.
            kernel_id = gateway.start_kernel(env={} if fixed else {"KERNEL_NAMESPACE": team})

            assert len(listed("pods", "-n", team, "-l", f"kernel_id={kernel_id}")) == 1
            assert run(gateway, kernel_id) == "42\n"
            refused = gateway.request(
                "POST", "/api/kernels", json={"name": "python_kubernetes", "env": {"KERNEL_NAMESPACE": "default"}}
            )
            assert refused.status_code == 403
            release.helm("uninstall", "--wait", "--timeout", "300s")
            assert release.objects() == []
            assert [each["metadata"]["name"] for each in listed("namespaces", f"--field-selector=metadata.name={team}")] == [team]
        finally:
            kubectl("delete", "namespace", team, "--wait=false")


def test_a_puller_by_the_runtimes_socket_needs_a_privileged_namespace_and_nothing_else() -> None:
    kip = {
        "image": PULLER_IMAGE,
        "interval": 15,
        "criSocket": "/run/containerd/containerd.sock",
        "images": "python:3.11-slim-bookworm",
    }
    with Release(values={"kip": kip}, level="privileged") as release:
        release.install()

        (daemons,) = listed("daemonsets", "-n", release.namespace)
        assert daemons["status"]["numberReady"] == len(listed("nodes"))


def test_behind_a_base_path_with_tls_the_test_and_the_puller_reach_the_gateway(tmp_path) -> None:
    values = {"baseUrl": "/gateway", "tls": {"secretName": "certificate"}}
    with Release(values=values) as release:
        certificate, key = _certificate(tmp_path, f"{release.full_name}.{release.namespace}.svc")
        files = {"tls.crt": certificate, "tls.key": key, "ca.crt": certificate}
        data = [f"--from-file={name}={file}" for name, file in files.items()]
        kubectl("create", "secret", "generic", "certificate", "-n", release.namespace, "--type=kubernetes.io/tls", *data)
        release.install()

        assert "Phase:          Succeeded" in release.helm("test", "--timeout", "120s")
        (daemons,) = listed("daemonsets", "-n", release.namespace)
        assert daemons["status"]["numberReady"] == len(listed("nodes"))


def _certificate(folder, name: str):
    certificate, key = folder / "tls.crt", folder / "tls.key"
    subject = ["-subj", "/CN=gateway", "-addext", f"subjectAltName=DNS:{name}"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run([*command, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def test_a_token_of_an_existing_secret_is_used() -> None:
    with Release(values={"auth": {"existingSecret": "mine", "key": "the-token"}}) as release:
        data = base64.b64encode(b"chosen-by-somebody\n").decode()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "data": {"the-token": data}}
        kubectl("create", "-n", release.namespace, "-f", "-", text=json.dumps(secret))
        release.install()

        assert not [each for each in listed("secrets", "-n", release.namespace) if each["metadata"]["name"].endswith("-token")]
        assert "Phase:          Succeeded" in release.helm("test", "--timeout", "120s")
