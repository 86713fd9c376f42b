"""What a kernelspec may say of its kernels in pods, through the gateway as its users have it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.support.kernel_socket import KernelSocket, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.installation import Cluster, Installation
    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

USER = {"KERNEL_USERNAME": "ada"}
# A command is looked for by PATH, so the image's own folders stand there too.
THIRTEEN = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/of/the/kernelspec",
    "HOME": "/dev/shm",  # noqa: S108  a folder of the pod that its user may write to
    "TZ": "Asia/Tokyo",
    "LANG": "C.UTF-8",
    "LANGUAGE": "ja",
    "TMPDIR": "/tmp",  # noqa: S108  as above
    "USER": "user",
    "LOGNAME": "logname",
    "SHELL": "/bin/false",
    "VIRTUAL_ENV": "/venv",
    "PWD": "/pwd",
    "HOSTNAME": "hostname",
    "KUBECONFIG": "/kubeconfig",
}
# A type of volume that the default policy doesn't let clients have, in several lines.
OWN_VOLUMES = """\
- name: facts
  downwardAPI:
    items:
    - path: name
      fieldRef: {fieldPath: metadata.name}
- name: ${KERNEL_NAME}
  emptyDir: {}
"""
OWN_MOUNTS = "- name: facts\n  mountPath: /facts\n"
TEMPLATE_OF_2018 = """\
apiVersion: v1
kind: Pod
metadata:
  name: $kernel_username
spec:
  containers:
  - name: kernel
    image: ${kernel_image}
"""


def environment(server: Server, kernel_id: str) -> dict[str, str]:
    with KernelSocket(server, kernel_id) as client:
        made: dict[str, str] = json.loads(text_of(client.run("import json, os; print(json.dumps(dict(os.environ)))")))
    return made


def printed(server: Server, kernel_id: str, code: str) -> str:
    with KernelSocket(server, kernel_id) as client:
        return text_of(client.run(code))


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace that exists, and goes with the installation's."""
    name = f"{cluster.instance}-team"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, f"app.kubernetes.io/instance={cluster.instance}")
    return name


def test_every_name_in_env_reaches_the_pod_with_the_facts_filled_in(
    installation: Installation, gateway: Callable[..., Server]
) -> None:
    own = {"WHO": "${KERNEL_USERNAME} $KERNEL_NAME ${KERNEL_ID} ${KERNEL_TEAM} ${UNKNOWN}", **THIRTEEN}
    # The name that gateway_provisioners has for what runs kernels in pods.
    installation.add_kernelspec("thirteen", env=own, provisioner="kubernetes-provisioner", config={"launch_timeout": 50})
    server = gateway().start()
    kernel_id = server.start_kernel("thirteen", env={**USER, "KERNEL_TEAM": "blue"})
    found = environment(server, kernel_id)
    assert {name: found.get(name) for name in THIRTEEN} == THIRTEEN
    assert found["WHO"] == f"ada thirteen {kernel_id} blue ${{UNKNOWN}}"
    assert found["KERNEL_LAUNCH_TIMEOUT"] == "50"


def test_what_the_administrator_lets_through_reaches_the_pod_and_nothing_else(gateway: Callable[..., Server]) -> None:
    given = {"TZ": "Asia/Tokyo", "USER": "of the gateway", "LOGNAME": "of the gateway"}
    server = gateway(environment=given, INHERITED_ENVS="TZ", CLIENT_ENVS="LANGUAGE,LOGNAME").start()
    kernel_id = server.start_kernel("python_kubernetes", env={**USER, "LANGUAGE": "ja", "LANG": "ja_JP"})
    found = environment(server, kernel_id)
    assert (found["TZ"], found["LANGUAGE"]) == ("Asia/Tokyo", "ja")
    assert not {"USER", "LOGNAME", "KUBECONFIG", "VIRTUAL_ENV"} & set(found)
    assert found.get("LANG") != "ja_JP"


def test_a_kernelspecs_variables_are_not_judged_as_the_clients_also_by_the_gateway_that_restarts_the_kernel(
    installation: Installation, gateway: Callable[..., Server], cluster: Cluster, namespace: str
) -> None:
    own = {
        "KERNEL_NAMESPACE": namespace,
        "KERNEL_VOLUMES": OWN_VOLUMES,
        "KERNEL_VOLUME_MOUNTS": OWN_MOUNTS,
        "KERNEL_UID": "1234",
        "KERNEL_MEMORY_LIMIT": "600Mi",
    }
    installation.add_kernelspec("own", env=own)
    server = gateway(PROHIBITED_UIDS="0,1234").start()
    kernel_id = server.start_kernel("own", env=USER)
    read = "import os; print(os.getuid(), open('/facts/name').read())"
    for _ in range(2):
        pod = cluster.pod(kernel_id)
        assert pod["metadata"]["namespace"] == namespace
        assert {"own", "facts"} <= {volume["name"] for volume in pod["spec"]["volumes"]}
        assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "600Mi"
        assert printed(server, kernel_id, read) == f"1234 {pod['metadata']['name']}\n"
        # Another process, which knows the start by its record only.
        server.kill()
        server.start()
        assert server.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).status_code == 200
    for name in ("KERNEL_NAMESPACE", "KERNEL_UID"):
        answer = server.request("POST", "/api/kernels", json={"name": "own", "env": {**USER, name: own[name]}})
        assert (answer.status_code, name in answer.json()["message"]) == (403, True)
    refused = server.request("POST", "/api/kernels", json={"name": "own", "env": {**USER, "KERNEL_VOLUMES": OWN_VOLUMES}})
    assert (refused.status_code, "downwardAPI" in refused.json()["message"]) == (403, True)


def test_volumes_of_a_client_may_have_several_lines(gateway: Callable[..., Server], cluster: Cluster) -> None:
    server = gateway().start()
    volumes, mounts = "- name: scratch\n  emptyDir:\n    medium: Memory\n", "- name: scratch\r\n  mountPath: /scratch\r\n"
    sent = {**USER, "KERNEL_VOLUMES": volumes, "KERNEL_VOLUME_MOUNTS": mounts}
    kernel_id = server.start_kernel("python_kubernetes", env=sent)
    (volume,) = [each for each in cluster.pod(kernel_id)["spec"]["volumes"] if each["name"] == "scratch"]
    assert volume["emptyDir"] == {"medium": "Memory"}
    found = environment(server, kernel_id)
    assert json.loads(found["KERNEL_VOLUMES"]) == [{"name": "scratch", "emptyDir": {"medium": "Memory"}}]
    assert "\n" not in found["KERNEL_VOLUMES"] + found["KERNEL_VOLUME_MOUNTS"]
    assert printed(server, kernel_id, "import os; print(os.path.ismount('/scratch'))") == "True\n"


def test_the_time_that_a_kernelspec_names_is_the_starts(
    installation: Installation, gateway: Callable[..., Server], cluster: Cluster
) -> None:
    installation.add_kernelspec("patient", env={"KERNEL_LAUNCH_TIMEOUT": "8", "KERNEL_CPUS": "999"})
    server = gateway(UNSCHEDULABLE_GRACE="60", KERNEL_LAUNCH_TIMEOUT="2").start()
    answer = server.request("POST", "/api/kernels", json={"name": "patient", "env": USER})
    assert answer.status_code == 500
    assert "within 8 seconds" in answer.json()["message"]


@pytest.mark.parametrize(
    ("parts", "status", "words"),
    [
        (
            {"template": TEMPLATE_OF_2018, "dialect": "kernel-pod.yaml"},
            500,
            "kernel-pod.yaml can't be used: write ${kernel_username} for $kernel_username.",
        ),
        (
            {"argv": ["/usr/local/share/jupyter/kernels/refused/bin/run.sh", "--kernel-id", "{kernel_id}"]},
            501,
            "The kernelspec's argv names its bin/run.sh",
        ),
        (
            {"provisioner": "kubernetes-provisioner", "config": {"yarn_queue": "x"}},
            501,
            "kubernetes-provisioner has a config that can't be followed here: yarn_queue.",
        ),
        ({"env": {"KERNEL_CPUS": "many"}}, 500, "The kernelspec's env can't be used: KERNEL_CPUS is not an amount"),
    ],
    ids=["dollar without braces", "run.sh", "other config", "unreadable variable"],
)
def test_a_kernelspec_that_cannot_be_followed_is_refused_with_what_to_write(
    installation: Installation, gateway: Callable[..., Server], cluster: Cluster, parts: dict, status: int, words: str
) -> None:
    installation.add_kernelspec("refused", **parts)
    server = gateway().start()
    kernel_id = "33333333-89ab-4cde-8f01-23456789abcd"
    answer = server.request("POST", "/api/kernels", json={"name": "refused", "env": {**USER, "KERNEL_ID": kernel_id}})
    assert answer.status_code == status
    assert words in answer.json()["message"]
    assert cluster.objects(kernel_id) == []
