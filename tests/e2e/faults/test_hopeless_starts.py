"""Starts that can't work: each ends within seconds in Kubernetes' own words, and leaves nothing."""

from __future__ import annotations

import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests
import yaml
from tests.support.installation import NAME
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

_SECONDS = 15
_GRACES = {"UNSCHEDULABLE_GRACE": "2", "IMAGE_PULL_GRACE": "3"}

_CONTAINER = """\
kind: Pod
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: kernel
    image: %s
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""


_BEFORE = """\
  initContainers:
  - name: fetch-data
    image: %s
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    command: [sh, -c, "%s"]
"""


def template(more: str = "", *, image: str = "{{ kernel_image }}") -> str:
    return _CONTAINER % image + more


def preceded(script: str, more: str = "", *, image: str = "{{ kernel_image }}") -> dict[str, str]:
    """Return what makes a kernelspec whose pod has an init container."""
    return {"template": template(_BEFORE % (image, script) + more)}


KERNELSPECS = {
    "no-such-image": {"config": {"image_name": "elyra/does-not-exist:1"}},
    "no-registry": {"config": {"image_name": "registry.invalid/elyra/nothing:1"}},
    "bad-image-name": {"template": template(image="Elyra/UPPER:1")},
    "never-pulled": {"template": template("    imagePullPolicy: Never\n", image="elyra/never-there:1")},
    "no-config": {
        "template": template(
            "    env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: no-such-secret, key: password}}}]\n",
        )
    },
    "root-image": {
        "template": "kind: Pod\nspec:\n  securityContext: {runAsNonRoot: true, runAsUser: 0}\n"
        "  containers: [{name: kernel, image: '{{ kernel_image }}'}]\n"
    },
    "no-command": {"argv": ["no-such-program"]},
    "crash": {"argv": ["python3", "-c", "print('first line'); raise SystemExit('the last words of the launcher')"]},
    "refused": {"argv": ["launch-kernel", "--spark-context-initialization-mode", "lazy"]},
    "deaf": {"argv": ["sleep", "600"]},
    "no-volume": {
        "template": template(
            "    volumeMounts: [{name: data, mountPath: /data}]\n"
            "  volumes: [{name: data, secret: {secretName: no-such-secret}}]\n"
        )
    },
    "init-fails": preceded("echo connecting; echo no such bucket >&2; exit 4"),
    "init-without-command": {"template": preceded("x")["template"].replace("[sh, -c", "[no-such-program, -c")},
    "init-without-image": preceded("exit 0", image="elyra/does-not-exist:1"),
    "init-hangs": preceded("sleep 600"),
    "init-crashes": preceded(
        "echo no config >&2; exit 5", "    restartPolicy: Always\n    startupProbe: {exec: {command: ['false']}}\n"
    ),
    "init-stays": preceded("sleep 600", "    restartPolicy: Always\n"),
    "invalid-pod": {"template": template("  priorityClassName: no-such-class\n")},
    "not-a-pod": {"template": "not a pod"},
    "loose": {"template": "kind: Pod\nspec: {containers: [{name: kernel, image: '{{ kernel_image }}'}]}"},
}


@pytest.fixture(scope="module")
def team(cluster) -> Iterator[str]:
    """A namespace that clients may name, under the restricted Pod Security Standard."""
    name = f"{cluster.instance}-team"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def full(cluster) -> Iterator[str]:
    """A namespace whose quota is used up."""
    name = f"{cluster.instance}-full"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("-n", name, "create", "quota", "none", "--hard=pods=0")
    # A quota counts from when its controller has written what is used.
    cluster.kubectl("-n", name, "wait", "resourcequota/none", "--for=jsonpath={.status.hard.pods}=0", "--timeout=60s")
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def server(installation, folder, team, full) -> Server:
    policy = folder / "policy.yaml"
    policy.write_text(json.dumps({"namespaces": [team, full]}))
    for name, parts in KERNELSPECS.items():
        installation.add_kernelspec(name, **parts)
    return installation.gateway(POLICY_FILE=str(policy), **_GRACES).start()


def start(server, name, **env):
    """Return the answer to a start, the kernel's id and how long it took."""
    kernel_id = str(uuid.uuid4())
    began = time.monotonic()
    answer = server.request("POST", "/api/kernels", json={"name": name, "env": {"KERNEL_ID": kernel_id, **env}})
    return answer, kernel_id, time.monotonic() - began


def assert_hopeless(server, cluster, name, words, *, seconds=_SECONDS, status=500, **env):
    answer, kernel_id, took = start(server, name, **env)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"reason", "message"}
    for part in words:
        assert part in answer.json()["message"]
    assert took < seconds
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=30)
    assert kernel_id not in server.kernel_ids()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-such-image", ["ErrImagePull", "not found"]),
        ("no-registry", ["ErrImagePull", "registry.invalid"]),
        ("bad-image-name", ["InvalidImageName", "Elyra/UPPER"]),
        ("never-pulled", ["ErrImageNeverPull"]),
        ("no-config", ["CreateContainerConfigError", 'secret "no-such-secret" not found']),
        ("root-image", ["CreateContainerConfigError", "breaks non-root policy"]),
        ("no-command", ["no-such-program"]),
        ("crash", ["status 1", "the last words of the launcher"]),
        ("refused", ["status 3", "pyspark isn't installed"]),
        ("init-fails", ["The init container 'fetch-data' exited with status 4", "no such bucket"]),
        ("init-without-command", ["The init container 'fetch-data' can't start", "no-such-program"]),
        ("init-without-image", ["The init container 'fetch-data' can't start", "does-not-exist:1", "not found"]),
        ("init-crashes", ["The sidecar container 'fetch-data' ends again and again", "status 5", "no config"]),
        ("invalid-pod", ["no PriorityClass", "no-such-class"]),
        ("not-a-pod", ["no object"]),
    ],
)
def test_a_start_that_cant_work_ends_within_seconds_in_kubernetes_words(server, cluster, name, words):
    assert_hopeless(server, cluster, name, words)


def test_a_pod_that_no_node_takes_is_given_up_after_the_grace(server, cluster):
    assert_hopeless(server, cluster, NAME, ["No node can take", "Insufficient cpu"], KERNEL_CPUS="4000")


def test_a_pod_that_the_admission_refuses_is_refused_in_its_words(server, cluster, team):
    assert_hopeless(server, cluster, "loose", ["violates PodSecurity", "restricted"], status=403, KERNEL_NAMESPACE=team)


def test_a_quota_that_is_used_up_is_said(server, cluster, full):
    assert_hopeless(server, cluster, NAME, ["exceeded quota: none"], status=403, KERNEL_NAMESPACE=full)


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"KERNEL_VOLUMES": "[{name: 'No Name', emptyDir: {}}]"}, ["Invalid", "volumes[0].name"]),
        ({"KERNEL_VOLUMES": "[{name: data, emptyDir: {sizeLimit: much}}]"}, ["quantities"]),
        ({"KERNEL_VOLUME_MOUNTS": "[{name: nothing, mountPath: /data}]"}, ["volumeMounts[0].name", "Not found"]),
    ],
)
def test_what_kubernetes_refuses_of_a_clients_choice_is_the_clients_mistake(server, cluster, env, words):
    assert_hopeless(server, cluster, NAME, words, status=400, **env)


def test_a_kernel_that_never_listens_ends_with_its_time(server, cluster):
    assert_hopeless(server, cluster, "deaf", ["didn't listen within 10 seconds"], seconds=20, KERNEL_LAUNCH_TIMEOUT="10")


def test_a_volume_that_cant_be_mounted_is_said_when_the_time_is_over(server, cluster):
    assert_hopeless(server, cluster, "no-volume", ["within 6 seconds", "no-such-secret"], KERNEL_LAUNCH_TIMEOUT="6")


def test_an_init_container_that_doesnt_end_is_named_while_it_is_waited_for_and_when_the_time_is_over(server, cluster):
    words = "Waiting for the init container 'fetch-data': it hasn't finished yet."
    kernel_id = str(uuid.uuid4())
    body = {"name": "init-hangs", "env": {"KERNEL_ID": kernel_id, "KERNEL_LAUNCH_TIMEOUT": "12"}}
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(server.request, "POST", "/api/kernels", json=body)
        model = f"/api/kernels/{kernel_id}"
        wait_until(lambda: words in server.request("GET", model).json().get("reason", ""), timeout=12)
        answer = start.result()
    assert answer.status_code == 500
    assert f"within 12 seconds. {words}" in answer.json()["message"]
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=30)


def test_a_kernel_starts_and_runs_beside_a_sidecar_that_stays(server, cluster):
    kernel_id = server.start_kernel("init-stays")
    with KernelSocket(server, kernel_id) as client:
        assert text_of(client.run("print(1)")) == "1\n"
    server.stop_kernel(kernel_id)
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=30)


def test_a_namespace_that_doesnt_exist_is_said(installation, cluster, folder):
    policy = folder / "any-namespace.yaml"
    policy.write_text("namespaces: ['*']")
    server = installation.gateway(POLICY_FILE=str(policy), **_GRACES).start()
    assert_hopeless(server, cluster, NAME, ["nowhere", "not found"], status=404, KERNEL_NAMESPACE="nowhere")


@pytest.fixture
def limited(cluster, folder) -> Iterator[str]:
    """A kubeconfig of somebody who may look at kernels and make none."""
    name = f"{cluster.instance}-limited"
    cluster.kubectl("-n", "default", "create", "serviceaccount", name)
    rules = ["--verb=list,watch,get", "--resource=pods,secrets"]
    cluster.kubectl("create", "clusterrole", name, *rules)
    cluster.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount=default:{name}")
    token = cluster.kubectl("-n", "default", "create", "token", name).strip()
    config = yaml.safe_load(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten"))
    config["users"][0]["user"] = {"token": token}
    path = folder / "limited"
    path.write_text(yaml.safe_dump(config))
    yield str(path)
    cluster.kubectl("delete", f"clusterrolebinding/{name}", f"clusterrole/{name}")
    cluster.kubectl("-n", "default", "delete", "serviceaccount", name)


def test_a_right_that_the_gateway_lacks_is_named(installation, cluster, limited):
    server = installation.gateway(kubeconfig=limited, LEADER_ELECTION="False").start()
    assert_hopeless(server, cluster, NAME, ["is forbidden", "cannot create resource", "namespaces"])


def test_what_a_start_waits_for_is_in_its_model_and_ends_when_there_is_a_node_for_it(installation, cluster, kept_free):
    """What an autoscaler does: it brings a node, here by letting pods onto one that refused them."""
    node = kept_free
    name = installation.add_kernelspec("selective", template=template(f"  nodeSelector: {{e2e-free: '{node}'}}\n"))
    server = installation.gateway(UNSCHEDULABLE_GRACE="60").start()
    kernel_id = str(uuid.uuid4())
    model, body = f"/api/kernels/{kernel_id}", {"name": name, "env": {"KERNEL_ID": kernel_id}}
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(server.request, "POST", "/api/kernels", json=body)
        wait_until(lambda: "Waiting for a node" in server.request("GET", model).json().get("reason", ""), timeout=20)
        cluster.kubectl("label", "node", node, f"e2e-free={node}")
        answer = started.result()
    assert answer.status_code == 201, answer.text
    with KernelSocket(server, kernel_id) as client:
        assert text_of(client.run("print(1)")) == "1\n"
    server.stop_kernel(kernel_id)
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=30)


@pytest.fixture
def kept_free(cluster) -> Iterator[str]:
    """A node's name; the label of the test is taken off it at the end."""
    node = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"][0]["metadata"]["name"]
    yield node
    cluster.kubectl("label", "node", node, "e2e-free-")


def test_a_client_that_goes_away_before_it_knows_its_kernel_leaves_nothing(installation, cluster):
    instance = f"{cluster.instance}-left"
    server = installation.gateway(INSTANCE=instance, UNSCHEDULABLE_GRACE="120").start()
    made = f"app.kubernetes.io/instance={instance}"
    with ThreadPoolExecutor(1) as pool:
        body = {"name": NAME, "env": {"KERNEL_CPUS": "4000"}}
        start = pool.submit(server.request, "POST", "/api/kernels", json=body, timeout=8)
        wait_until(lambda: any(entry.startswith("Pod/") for entry in cluster.labelled(made)), timeout=20)
        assert isinstance(start.exception(), requests.Timeout)
    wait_until(lambda: cluster.labelled(made) == [], timeout=30)
    assert server.kernel_ids() == set()
    assert "Traceback" not in server.log
