"""A node of the cluster without a kubelet, as Kubernetes' own tests of scale have them: for more kernels than pods fit here.

The API server, the scheduler, the pods' objects and their Secrets are real. What runs for a pod is its container's command as
a process of this machine, in a network namespace of its own with the pod's address; what isn't there are images, cgroups and
a file system of the pod's own. It needs root, and `ip` and `nsenter`.
"""

from __future__ import annotations

import base64
import ipaddress
import itertools
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import ProtocolError

from enterprise_gateway_common.connection import CONNECTION_FILE, CONNECTION_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HollowNode"]

_TAINT = {"key": "bench.example.com/hollow", "value": "true", "effect": "NoSchedule"}
_LABEL = "bench.example.com/hollow"
_NETWORK = ipaddress.ip_network("10.246.0.0/20")
_PODS = 1000
_STARTS_AT_ONCE = 4
_LEASE_SECONDS = 10.0
_LEASES = "kube-node-lease"
_END_SECONDS = 20.0
_WATCH_SECONDS = 600
_CAPACITY = {"cpu": "1000", "memory": "1000Gi", "pods": str(_PODS)}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@dataclass(kw_only=True)
class _Running:
    """What runs for one pod, and the network namespace that it is in."""

    namespace: str
    process: subprocess.Popen[bytes]


class HollowNode:
    """Runs the pods that are scheduled onto it, from its beginning to its end; then nothing of it or of them is left.

    Parameters
    ----------
    core
        Speaks with the API server.
    namespace
        Where the pods are that it runs.
    """

    def __init__(self, core: client.CoreV1Api, *, namespace: str) -> None:
        self._core = core
        self._leases = client.CoordinationV1Api()
        self._namespace = namespace
        self._mark = secrets.token_hex(3)
        self.name = f"hollow-{self._mark}"
        self._bridge = f"hollow{self._mark}"
        self._addresses = _NETWORK.hosts()
        self._numbers = itertools.count(1)
        self._end = threading.Event()
        self._watch = watch.Watch()
        self._running: dict[str, _Running] = {}
        self._seen: set[str] = set()
        self._folder = Path(tempfile.mkdtemp(prefix="hollow-node-"))
        self._stack = ExitStack()

    @property
    def template_lines(self) -> str:
        """What the specification of a pod needs so that it is scheduled onto this node, as lines of YAML."""
        return (
            f"  nodeSelector:\n    {_LABEL}: '{self._mark}'\n"
            f"  tolerations:\n  - key: {_TAINT['key']}\n    operator: Exists\n    effect: {_TAINT['effect']}\n"
        )

    # ------------------------------------------------------------------------------------------------- the node itself

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            stack.callback(self._remove_network)
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("addr", "add", f"{next(self._addresses)}/{_NETWORK.prefixlen}", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            stack.callback(self._remove_node)
            self._register()
            executor = stack.enter_context(ThreadPoolExecutor(_STARTS_AT_ONCE))
            follower = threading.Thread(target=self._follow, args=(executor,), daemon=True)
            stack.callback(self._stop, follower)
            follower.start()
            threading.Thread(target=self._report, daemon=True).start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _register(self) -> None:
        labels = {_LABEL: self._mark, "kubernetes.io/hostname": self.name}
        self._core.create_node({"metadata": {"name": self.name, "labels": labels}, "spec": {"taints": [_TAINT]}})
        holder = {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": _now()}
        self._leases.create_namespaced_lease(_LEASES, {"metadata": {"name": self.name}, "spec": holder})
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "hollow",
            "lastHeartbeatTime": _now(),
            "lastTransitionTime": _now(),
        }
        self._core.patch_node_status(
            self.name, {"status": {"capacity": _CAPACITY, "allocatable": _CAPACITY, "conditions": [ready]}}
        )

    def _report(self) -> None:
        """Be there, as the cluster sees it: a node that doesn't renew its lease is taken for lost."""
        while not self._end.wait(_LEASE_SECONDS):
            self._leases.patch_namespaced_lease(self.name, _LEASES, {"spec": {"renewTime": _now()}})

    def _remove_node(self) -> None:
        for remove in (
            lambda: self._core.delete_node(self.name),
            lambda: self._leases.delete_namespaced_lease(self.name, _LEASES),
        ):
            with suppress(ApiException):
                remove()

    def _remove_network(self) -> None:
        names = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout.split()
        for name in names:
            if name.startswith(f"{self.name}-"):
                _ip("netns", "delete", name)
        subprocess.run(["ip", "link", "delete", self._bridge], check=False, capture_output=True)

    # ------------------------------------------------------------------------------------------------------- its pods

    def _follow(self, executor: ThreadPoolExecutor) -> None:
        for pod in self._changes():
            uid = pod.metadata.uid
            if pod.metadata.deletion_timestamp is not None:
                executor.submit(self._stop_pod, pod)
            elif uid not in self._seen:
                self._seen.add(uid)
                executor.submit(self._start_pod, pod)

    def _changes(self) -> Iterator[Any]:
        while not self._end.is_set():
            events = self._watch.stream(
                self._core.list_namespaced_pod,
                self._namespace,
                field_selector=f"spec.nodeName={self.name}",
                timeout_seconds=_WATCH_SECONDS,
            )
            # Stopping it breaks its connection off.
            with suppress(ProtocolError):
                for event in events:
                    if event["type"] != "DELETED":
                        yield event["object"]

    def _start_pod(self, pod: Any) -> None:
        (container,) = pod.spec.containers
        (name,) = [volume.secret.secret_name for volume in pod.spec.volumes if volume.secret]
        secret = self._core.read_namespaced_secret(name, pod.metadata.namespace)
        address, number = str(next(self._addresses)), next(self._numbers)
        space = self._network(number, address)
        folder = self._folder / str(number)
        folder.mkdir()
        (folder / CONNECTION_FILE).write_bytes(base64.b64decode(secret.data[CONNECTION_FILE]))

        def here(text: str) -> str:
            # As a kubelet does, which mounts the Secret besides.
            return text.replace("$$", "$").replace(CONNECTION_FOLDER, str(folder))

        environment = {
            **{entry.name: here(entry.value or "") for entry in container.env},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TMPDIR": str(folder),
            "HOME": str(folder),
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{space}", "--", *map(here, container.command)],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running[pod.metadata.uid] = _Running(namespace=space, process=process)
        self._core.patch_namespaced_pod_status(pod.metadata.name, pod.metadata.namespace, _status(container, address))

    def _network(self, number: int, address: str) -> str:
        """Make the network namespace of a pod, and return its name."""
        space, link = f"{self.name}-{number}", f"h{self._mark}{number}"
        _ip("netns", "add", space)
        _ip("link", "add", link, "master", self._bridge, "up", "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("-n", space, "addr", "add", f"{address}/{_NETWORK.prefixlen}", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", space, "link", "set", device, "up")
        return space

    def _stop_pod(self, pod: Any) -> None:
        running = self._running.pop(pod.metadata.uid, None)
        if running is not None:
            _end(running.process)
            _ip("netns", "delete", running.namespace)
        with suppress(ApiException):  # somebody else may have been faster
            self._core.delete_namespaced_pod(pod.metadata.name, pod.metadata.namespace, grace_period_seconds=0)

    def _stop(self, follower: threading.Thread) -> None:
        self._end.set()
        self._watch.stop()
        for running in self._running.values():
            running.process.terminate()
        for running in self._running.values():
            _end(running.process)
        self._core.delete_collection_namespaced_pod(
            self._namespace, field_selector=f"spec.nodeName={self.name}", grace_period_seconds=0
        )
        follower.join(_END_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _status(container: Any, address: str) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    state = {
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "ready": True,
        "started": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": now}},
    }
    return {
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": now,
            "conditions": conditions,
            "containerStatuses": [state],
        }
    }
