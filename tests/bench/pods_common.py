"""What the benchmarks of kernels in pods share: a gateway beside the cluster, and the same pods without any gateway.

They need a cluster (KUBECONFIG) whose nodes find the kernels' image: EG_E2E_KERNEL_IMAGE, elyra/kernel-py:dev by default.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import zmq
from jupyter_client import BlockingKernelClient
from kubernetes import client, config, watch
from tests.bench.gateway_common import Direct
from tests.support.servers import Product, Server, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["KERNELSPEC", "BarePods", "Cluster", "Sampler", "direct_to", "gateway"]

KERNELSPEC = "python_kubernetes"
_SPEC = Path(__file__).parents[2] / "deploy" / "kernelspecs" / KERNELSPEC
_IMAGE = os.environ.get("EG_E2E_KERNEL_IMAGE", "elyra/kernel-py:dev")
_START_SECONDS = 120


class Cluster:
    """One namespace that the benchmark made, with the Kubernetes API beside it."""

    def __init__(self) -> None:
        if not os.environ.get("KUBECONFIG"):
            raise SystemExit("this benchmark needs a cluster: set KUBECONFIG")
        config.load_kube_config()
        self.core = client.CoreV1Api()
        self.namespace = f"bench-{secrets.token_hex(3)}"

    def __enter__(self) -> Self:
        self.core.create_namespace({"metadata": {"name": self.namespace}})
        # Pods are refused until the namespace's controller has made its account.
        deadline = time.monotonic() + 30
        while not self.core.list_namespaced_service_account(self.namespace).items:
            if time.monotonic() > deadline:
                raise TimeoutError(f"namespace {self.namespace} got no service account")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.core.delete_namespace(self.namespace)

    def pod_of(self, kernel_id: str) -> Any:
        """Return the pod of a kernel."""
        (pod,) = self.core.list_pod_for_all_namespaces(label_selector=f"kernel_id={kernel_id}").items
        return pod

    def connection_of(self, kernel_id: str) -> dict[str, Any]:
        """Return the content of a kernel's connection file, with its pod's address, for a kernel that listens itself."""
        content = json.loads(self.mounted_in(kernel_id)["connection.json"])
        # A supervisor would listen in the kernel's place.
        content.pop("supervisor", None)
        return {**content, "ip": self.pod_of(kernel_id).status.pod_ip}

    def mounted_in(self, kernel_id: str) -> dict[str, str]:
        """Return the files of a kernel's Secret."""
        pod = self.pod_of(kernel_id)
        (volume,) = [volume for volume in pod.spec.volumes if volume.secret]
        secret = self.core.read_namespaced_secret(volume.secret.secret_name, pod.metadata.namespace)
        return {name: base64.b64decode(data).decode() for name, data in secret.data.items()}


@contextlib.contextmanager
def gateway(**settings: str) -> Iterator[Server]:
    """Run a gateway of an installation of its own; what it leaves in the cluster is taken away."""
    root = Path(tempfile.mkdtemp(prefix="pods-bench-"))
    workspace = Workspace(root=root)
    target = workspace.data / "kernels" / KERNELSPEC
    shutil.copytree(_SPEC, target)
    spec = json.loads((target / "kernel.json").read_text())
    spec["metadata"]["kernel_provisioner"]["config"]["image_name"] = _IMAGE
    (target / "kernel.json").write_text(json.dumps(spec))
    own = {"INSTANCE": f"bench-{secrets.token_hex(3)}", "KERNEL_CLUSTER_ROLE": "", "KERNEL_LAUNCH_TIMEOUT": str(_START_SECONDS)}
    server = Server(
        product=Product.GATEWAY,
        workspace=workspace,
        token="bench-token",
        settings=own | settings,
        environment={"KUBECONFIG": os.environ["KUBECONFIG"]},
    )
    server.start()
    try:
        yield server
    finally:
        for kernel_id in server.kernel_ids():
            server.stop_kernel(kernel_id)
        server.stop()
        shutil.rmtree(root, ignore_errors=True)


def direct_to(connection: dict[str, Any]) -> Direct:
    """Reach a kernel past the gateway."""
    kernel_client = BlockingKernelClient()
    kernel_client.load_connection_info(connection)
    return Direct(kernel_client)


class BarePods:
    """Starts pods like a kernel's, by the Kubernetes API alone: what no gateway can be faster than.

    Parameters
    ----------
    cluster
        Where they are made.
    kernel_id
        A kernel of the gateway: its pod is the pattern, its connection file is theirs too.
    """

    def __init__(self, *, cluster: Cluster, kernel_id: str) -> None:
        self._cluster = cluster
        self._connection = cluster.connection_of(kernel_id)
        pod = cluster.pod_of(kernel_id)
        spec = client.ApiClient().sanitize_for_serialization(pod.spec)
        for name in ("nodeName", "serviceAccount", "priority", "preemptionPolicy"):
            spec.pop(name, None)
        spec["terminationGracePeriodSeconds"] = 0
        content = {key: value for key, value in self._connection.items() if key != "ip"} | {"ip": "0.0.0.0"}  # noqa: S104 - in a pod
        for volume in spec["volumes"]:
            if "secret" in volume:
                volume["secret"]["secretName"] = "connection"
        self._spec = spec
        files = cluster.mounted_in(kernel_id) | {"connection.json": json.dumps(content)}
        cluster.core.create_namespaced_secret(cluster.namespace, {"metadata": {"name": "connection"}, "stringData": files})

    def start(self) -> tuple[str, float]:
        """Start one; return its name and the seconds until its kernel has answered."""
        name = f"bare-{secrets.token_hex(4)}"
        begun = time.perf_counter()
        core, namespace = self._cluster.core, self._cluster.namespace
        core.create_namespaced_pod(namespace, {"metadata": {"name": name}, "spec": self._spec})
        stream = watch.Watch().stream(
            core.list_namespaced_pod, namespace, field_selector=f"metadata.name={name}", timeout_seconds=_START_SECONDS
        )
        for event in stream:
            status = event["object"].status
            if status.pod_ip and status.phase == "Running":
                break
        else:
            raise TimeoutError(f"pod {name} didn't run within {_START_SECONDS} s")
        _wait_for_answer({**self._connection, "ip": status.pod_ip})
        return name, time.perf_counter() - begun

    def connection_to(self, name: str) -> dict[str, Any]:
        """Return the connection of the kernel in a pod that was started."""
        pod = self._cluster.core.read_namespaced_pod(name, self._cluster.namespace)
        return {**self._connection, "ip": pod.status.pod_ip}

    def start_many(self, count: int) -> tuple[list[str], float]:
        """Start some at once; return their names and the seconds until the last kernel has answered."""
        begun = time.perf_counter()
        with ThreadPoolExecutor(count) as executor:
            names = [name for name, _ in executor.map(lambda _: self.start(), range(count))]
        return names, time.perf_counter() - begun

    def stop(self, *names: str) -> None:
        """Delete pods and return when they are gone."""
        core, namespace = self._cluster.core, self._cluster.namespace
        for name in names:
            core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)
        deadline = time.monotonic() + _START_SECONDS
        while any(pod.metadata.name in names for pod in core.list_namespaced_pod(namespace).items):
            if time.monotonic() > deadline:
                raise TimeoutError(f"pods are left in namespace {namespace}")
            time.sleep(0.05)


def _wait_for_answer(connection: dict[str, Any]) -> None:
    with zmq.Context() as context:
        # A kernel that isn't listening yet refuses; the default would look again only every 100 ms.
        context.setsockopt(zmq.RECONNECT_IVL, 10)
        kernel_client = BlockingKernelClient(context=context)
        kernel_client.load_connection_info(connection)
        shell = kernel_client.connect_shell()
        try:
            kernel_client.session.send(shell, kernel_client.session.msg("kernel_info_request", {}))
            if not shell.poll(1000 * _START_SECONDS):
                raise TimeoutError("a kernel in a bare pod doesn't answer")
        finally:
            shell.close(linger=0)


class Sampler(threading.Thread):
    """Calls something again and again until it is stopped, and keeps what it returned."""

    def __init__(self, sample: Callable[[], float], *, interval: float) -> None:
        super().__init__(daemon=True)
        self._sample = sample
        self._interval = interval
        self._stop_it = threading.Event()
        self.samples: list[float] = []

    def run(self) -> None:
        """Sample until stopped."""
        while not self._stop_it.wait(self._interval):
            self.samples.append(self._sample())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_it.set()
        self.join()
