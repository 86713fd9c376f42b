"""What happens to running kernels: their client learns it in words, and goes on with the same kernel and websocket.

The tests disturb whole nodes. Each leaves them as they were; nobody else should use the cluster meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.installation import NAME
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.messages import Message
    from tests.support.servers import Server

pytestmark = [pytest.mark.alone, pytest.mark.cluster, pytest.mark.timeout(300)]

_SECONDS = 5
_NODE_LOST_SECONDS = 60
_GRACE = 4


@pytest.fixture(scope="module")
def server(installation) -> Server:
    return installation.gateway(RESTART_LIMIT="3", NODE_LOSS_GRACE=str(_GRACE)).start()


@pytest.fixture
def kernel(server, cluster) -> Iterator[str]:
    kernel_id = server.start_kernel(NAME, env={"KERNEL_MEMORY_LIMIT": "200Mi"})
    yield kernel_id
    server.stop_kernel(kernel_id)
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=60)


def evict(cluster, pod):
    metadata = pod["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(body))


def delete(cluster, pod):
    metadata = pod["metadata"]
    cluster.kubectl("-n", metadata["namespace"], "delete", "pod", metadata["name"], "--wait=false")


class Story:
    """What a client hears while its kernel ends and comes back."""

    def __init__(self, server: Server, kernel_id: str, client: KernelSocket) -> None:
        self._server = server
        self._model = f"/api/kernels/{kernel_id}"
        self._client = client

    def model(self) -> dict:
        return self._server.request("GET", self._model).json()

    def ends_within(self, seconds: float) -> str:
        """Return what is said of the end, on standard error and in the model."""
        stderr: list[str] = []

        def ended(message: Message) -> bool:
            if message.type == "stream" and message.content["name"] == "stderr":
                stderr.append(message.content["text"])
            return message.type == "status" and message.content["execution_state"] == "restarting"

        self._client.wait_for(ended, timeout=seconds)
        said = self.model().get("reason", "")
        while not stderr:
            message = self._client.receive(5)
            if message.type == "stream" and message.content["name"] == "stderr":
                stderr.append(message.content["text"])
        return "".join(stderr), said

    def comes_back(self, seconds: float = 60) -> None:
        """Return when the same kernel answers over the same websocket, without its memory."""
        wait_until(lambda: self.model()["execution_state"] == "idle", timeout=seconds)
        assert text_of(self._client.run("print('lost' in globals())")) == "False\n"


@pytest.fixture
def story(server, kernel) -> Iterator[Story]:
    with KernelSocket(server, kernel) as client:
        client.run("lost = True")
        yield Story(server, kernel, client)


CAUSES: dict[str, tuple[Callable, str]] = {
    "evicted": (evict, "was evicted from its node"),
    "deleted by hand": (delete, "pod was deleted"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_kernel_whose_pod_is_taken_away_says_so_and_starts_again(cluster, kernel, story, cause):
    act, words = CAUSES[cause]
    act(cluster, cluster.pod(kernel))
    for said in story.ends_within(_SECONDS):
        assert words in said
    story.comes_back()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os._exit(7)", "exited with status 7"),
        ("import ctypes; ctypes.string_at(0)", "The kernel was ended by SIGSEGV."),
        ("x = bytearray(1024 ** 3)", "OOMKilled, it used more than its limit (200Mi)"),
    ],
    ids=["exit", "crash", "out of memory"],
)
def test_a_kernel_that_ends_says_why_and_starts_again(story, code, words):
    story._client.execute(code)
    for said in story.ends_within(_SECONDS):
        assert words in said
    story.comes_back()


def test_a_kernel_that_keeps_dying_is_given_up_with_the_last_cause(installation, cluster):
    # An installation of its own: its neighbour would start the kernel again.
    server = installation.gateway(RESTART_LIMIT="0", INSTANCE=f"{cluster.instance}-alone").start()
    kernel_id = server.start_kernel(NAME)
    with KernelSocket(server, kernel_id) as client:
        client.execute("import os; os._exit(9)")
        client.wait_for(lambda message: message.type == "status" and message.content["execution_state"] == "dead", timeout=10)
    model = server.request("GET", f"/api/kernels/{kernel_id}").json()
    assert (model["execution_state"], "status 9" in model["reason"]) == ("dead", True)
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=30)
    server.stop_kernel(kernel_id)
    server.stop()


@pytest.fixture
def uncordoned(cluster) -> Iterator[None]:
    """See to it that every node takes pods again."""
    yield
    for node in json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]:
        cluster.kubectl("uncordon", node["metadata"]["name"])


@pytest.mark.usefixtures("uncordoned")
def test_a_drain_moves_a_kernel_to_another_node(cluster, kernel, story):
    node = cluster.pod(kernel)["spec"]["nodeName"]
    cluster.kubectl("cordon", node)
    # Of the whole node's pods only this test's: the eviction is the one that `kubectl drain` asks for.
    chosen = ["--delete-emptydir-data", "--ignore-daemonsets", f"--pod-selector=kernel_id={kernel}"]
    refused = subprocess.run(["kubectl", "drain", node, *chosen], capture_output=True, text=True, check=False)
    assert "cannot delete Pods that declare no controller (use --force to override)" in " ".join(refused.stderr.split())
    chosen.append("--force")
    began = time.monotonic()
    drain = subprocess.Popen(["kubectl", "drain", node, *chosen], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for said in story.ends_within(_SECONDS + 5):
        assert "was evicted from its node" in said
    assert time.monotonic() - began < _SECONDS + 5
    assert drain.wait(60) == 0
    story.comes_back()
    assert cluster.pod(kernel)["spec"]["nodeName"] != node


def readiness(cluster, kernel):
    """Return whether the cluster says that a kernel's pod is ready."""
    conditions = cluster.pod(kernel)["status"]["conditions"]
    return {condition["type"]: condition["status"] for condition in conditions}["Ready"]


def test_a_pod_that_is_marked_as_not_ready_keeps_its_kernel(cluster, kernel, story):
    metadata = cluster.pod(kernel)["metadata"]
    patch = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    cluster.kubectl("-n", metadata["namespace"], "patch", "pod", metadata["name"], "--subresource=status", "-p", patch)
    # The kubelet sets it right as soon as it compares.
    wait_until(lambda: readiness(cluster, kernel) == "True", timeout=120)
    assert text_of(story._client.run("print(lost)")) == "True\n"
    assert cluster.pod(kernel)["metadata"]["uid"] == metadata["uid"]


@pytest.fixture
def node_of_this_machine(cluster, kernel) -> str:
    """The node of the kernel, which is a network namespace of this machine."""
    node = cluster.pod(kernel)["spec"]["nodeName"]
    names = (
        subprocess.run(["ip", "netns", "list"], check=False, capture_output=True, text=True).stdout if shutil.which("ip") else ""
    )
    if node not in names.split():
        pytest.skip("the nodes of this cluster aren't network namespaces of this machine: none can be disturbed")
    return node


def wait_until_well(cluster, node):
    cluster.kubectl("wait", f"node/{node}", "--for=condition=Ready", "--timeout=120s")
    wait_until(lambda: "unreachable" not in cluster.kubectl("get", "node", node, "-o", "jsonpath={.spec.taints}"), timeout=60)


@pytest.fixture
def stopped_kubelet(cluster, node_of_this_machine) -> Iterator[None]:
    """The kubelet of the kernel's node stands still, and its containers run; it goes on at the end."""
    pids = map(int, subprocess.check_output(["ip", "netns", "pids", node_of_this_machine], text=True).split())
    kubelets = [pid for pid in pids if Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].endswith(b"kubelet")]
    if len(kubelets) != 1:
        pytest.skip("the node's kubelet isn't a process of its network namespace")
    os.kill(kubelets[0], signal.SIGSTOP)
    yield
    os.kill(kubelets[0], signal.SIGCONT)
    wait_until_well(cluster, node_of_this_machine)


@pytest.mark.usefixtures("stopped_kubelet")
def test_a_kernel_goes_on_while_it_answers_however_long_its_node_doesnt_report(cluster, kernel, server, story):
    uid = cluster.pod(kernel)["metadata"]["uid"]
    wait_until(lambda: readiness(cluster, kernel) == "False", timeout=120)
    # It computes for longer than the grace, and answers nobody meanwhile but by ZeroMQ's own thread.
    assert text_of(story._client.run(f"import time; time.sleep({3 * _GRACE}); print(lost)", timeout=60)) == "True\n"
    assert story.model()["execution_state"] == "idle"
    pod = cluster.pod(kernel)["metadata"]
    assert pod["uid"] == uid
    assert not any("loss" in name or "lost" in name for name in pod["annotations"])


@pytest.fixture
def lost_node(cluster, node_of_this_machine) -> Iterator[str]:
    """The kernel's node without its network, which it gets back at the end."""
    node = node_of_this_machine
    routes = subprocess.check_output(["ip", "-n", node, "route", "show"], text=True).splitlines()
    yield node
    subprocess.run(["ip", "-n", node, "link", "set", "eth0", "up"], check=True)
    for route in routes:
        # A link that goes down takes its routes with it.
        subprocess.run(["ip", "-n", node, "route", "replace", *route.replace("linkdown", "").split()], check=False)
    wait_until_well(cluster, node)


def test_a_kernel_of_a_lost_node_goes_on_elsewhere_under_its_id_and_websocket(cluster, kernel, story, lost_node):
    subprocess.run(["ip", "-n", lost_node, "link", "set", "eth0", "down"], check=True)
    began = time.monotonic()
    for said in story.ends_within(_NODE_LOST_SECONDS + 5):
        assert "node" in said
        assert lost_node in said
        assert "doesn't answer" in said
    took = time.monotonic() - began
    print(f"the node's loss was told after {took:.1f} s")
    assert took <= _NODE_LOST_SECONDS
    story.comes_back()
    assert cluster.pod(kernel)["spec"]["nodeName"] != lost_node


def test_the_tests_leave_every_node_ready(cluster):
    for node in json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]:
        ready = {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}["Ready"]
        assert (ready, node["spec"].get("unschedulable", False)) == ("True", False)
