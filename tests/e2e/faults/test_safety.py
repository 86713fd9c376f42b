"""What a client sends reaches its own kernel as it was given, and nothing else; what is secret stays where it belongs."""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING

import pytest
from tests.support.installation import NAME
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.waiting import wait_until

from enterprise_gateway_common.connection import PORTS

if TYPE_CHECKING:
    from tests.support.servers import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

TOKEN = "the-token-of-a-client"


@pytest.fixture(scope="module")
def server(installation) -> Server:
    # Everything that the gateway could ever log.
    server = installation.gateway(LOG_LEVEL="DEBUG", AUTH_TOKEN=TOKEN)
    server.token = TOKEN
    return server.start()


def printed(server, kernel_id, code):
    with KernelSocket(server, kernel_id) as client:
        return text_of(client.run(code))


@pytest.mark.parametrize(
    "username",
    ["../x", 'o\'hara "quoted"', "Zo\u00eb \u5f20", "{{ 7*7 }} ${HOME} $(id)", "a: [b, &c d]", "n" * 256],
    ids=["path", "quotes", "unicode", "templates", "yaml", "long"],
)
def test_a_users_name_reaches_the_kernel_byte_for_byte_and_nothing_else(server, cluster, username):
    kernel_id = server.start_kernel(NAME, env={"KERNEL_USERNAME": username, "KERNEL_FOO": username})
    code = "import json, os; print(json.dumps([os.environ['KERNEL_USERNAME'], os.environ['KERNEL_FOO'], 49]))"
    assert json.loads(printed(server, kernel_id, code)) == [username, username, 49]
    pod = cluster.pod(kernel_id)
    assert len(pod["metadata"]["name"]) <= 63
    assert set(pod["spec"]) & {"hostNetwork", "hostPID", "hostIPC"} == set()
    server.stop_kernel(kernel_id)


def test_users_whose_names_look_alike_have_nothing_in_common(server, cluster):
    names = ("a.b", "a@b", "A-B")
    kernels = [server.start_kernel(NAME, env={"KERNEL_USERNAME": name}) for name in names]
    pods = [cluster.pod(kernel_id) for kernel_id in kernels]
    for field in ("name", "namespace"):
        assert len({pod["metadata"][field] for pod in pods}) == len(names)
    users = {pod["metadata"]["labels"]["enterprise-gateway.jupyter.org/user"] for pod in pods}
    assert len(users) == len(names)
    for kernel_id in kernels:
        server.stop_kernel(kernel_id)


def test_a_kernel_has_no_right_in_the_cluster(server):
    kernel_id = server.start_kernel(NAME)
    code = "import os; print(os.path.exists('/var/run/secrets/kubernetes.io/serviceaccount/token'))"
    assert printed(server, kernel_id, code) == "False\n"
    server.stop_kernel(kernel_id)


def test_a_kernel_finds_of_its_secret_only_what_it_needs(server):
    kernel_id = server.start_kernel(NAME, env={"KERNEL_FOO": "x"})
    code = "import os; print(sorted(n for n in os.listdir(os.path.dirname(os.environ['KERNEL_CONNECTION_FILE'])) if n[0] != '.'))"
    assert printed(server, kernel_id, code) == "['connection.json']\n"
    server.stop_kernel(kernel_id)


_INTRUDE = """
import json, os, zmq
from ipykernel.kernelapp import IPKernelApp
app = IPKernelApp.instance()
# A kernel knows its own keys, and nobody else's.
own = json.load(open(os.environ["KERNEL_CONNECTION_FILE"]))
context, replies = zmq.Context(), []
for encrypted in (True, False):
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    if encrypted:
        socket.curve_serverkey = socket.curve_publickey = own["curve_publickey"].encode()
        socket.curve_secretkey = own["curve_secretkey"].encode()
    socket.connect("tcp://{ip}:{port}")
    app.session.send(socket, "execute_request", {{"code": "intruder = 1", "silent": False}})
    if socket.poll(1500):
        replies.append(socket.recv_multipart())
header = {{"session": "{session}", "msg_id": "{parent}", "msg_type": "execute_request", "username": "", "version": "5.4"}}
app.kernel.session.send(app.iopub_socket, "stream", {{"name": "stdout", "text": "forged"}}, parent={{"header": header}})
print("replies", len(replies))
"""


def test_a_kernel_reaches_neither_another_kernel_nor_its_clients(server, cluster):
    victim, intruder = (server.start_kernel(NAME, env={"KERNEL_USERNAME": name}) for name in ("ada", "mallory"))
    with KernelSocket(server, victim, session="of-ada") as ada, KernelSocket(server, intruder) as mallory:
        cell = ada.run("print('mine')")[0].parent
        ip = cluster.pod(victim)["status"]["podIP"]
        code = _INTRUDE.format(ip=ip, port=PORTS["shell_port"], session=ada.session, parent=cell)
        sent = mallory.execute(code)
        own = list(mallory.until(lambda message: message.parent == sent.id and message.type == "execute_reply"))
        assert text_of(own) == "forgedreplies 0\n", [message.content for message in own]
        asked = ada.execute("print('intruder' in globals())")
        # Everything that came to her, whatever it claims to answer, up to the end of this cell.
        ended = {"execution_state": "idle"}
        seen = list(ada.until(lambda message: message.parent == asked.id and message.content == ended))
        assert text_of(seen) == "False\n"
    for kernel_id in (victim, intruder):
        server.stop_kernel(kernel_id)


def secrets_of(cluster, kernel_id):
    """Return the keys that only the gateway and the kernel may know."""
    found = json.loads(cluster.kubectl("get", "secrets", "-A", "-l", f"kernel_id={kernel_id}", "-o", "json"))["items"]
    keys = set()
    for secret in found:
        connection = json.loads(base64.b64decode(secret["data"]["connection.json"]))
        keys |= {connection[name] for name in ("key", "curve_secretkey", "curve_publickey") if name in connection}
    return keys


def test_nothing_that_is_secret_is_in_a_log_an_event_or_the_pods_description(server, cluster):
    canary = f"canary-{uuid.uuid4().hex}"
    kernel_id = server.start_kernel(NAME, env={"KERNEL_PASSWORD": canary})
    keys = secrets_of(cluster, kernel_id)
    assert len(keys) == 3
    printed(server, kernel_id, "pass")
    assert server.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).status_code == 200
    keys |= secrets_of(cluster, kernel_id)
    pod = cluster.pod(kernel_id)
    where = ["-n", pod["metadata"]["namespace"]]
    pod_log = cluster.kubectl(*where, "logs", pod["metadata"]["name"])
    events = cluster.kubectl(*where, "get", "events", "-o", "json")
    failed = server.request(
        "POST", "/api/kernels", json={"name": NAME, "env": {"KERNEL_PASSWORD": canary, "KERNEL_CPUS": canary}}
    )
    assert failed.status_code == 400
    server.stop_kernel(kernel_id)
    wait_until(lambda: cluster.objects(kernel_id) == [], timeout=30)
    description = json.dumps(pod)
    for place, text in {"log": server.log, "pod's log": pod_log, "events": events, "answer": failed.text}.items():
        for secret in (*keys, canary, TOKEN):
            assert secret not in text, place
    # The client's own variable is its kernel's environment; the keys are nowhere but in the Secret.
    assert not any(key in description for key in keys)


def test_another_users_kernel_id_is_refused_and_nothing_is_told(installation, cluster, folder):
    tokens = folder / "tokens"
    tokens.write_text("ada:token-of-ada\nbob:token-of-bob\n")
    tokens.chmod(0o600)
    server = installation.gateway(AUTH_TOKENS_FILE=str(tokens))
    server.token = "token-of-ada"
    server.start()
    kernel_id = str(uuid.uuid4())
    server.start_kernel(NAME, env={"KERNEL_ID": kernel_id})
    server.token = "token-of-bob"
    answer = server.request("POST", "/api/kernels", json={"name": NAME, "env": {"KERNEL_ID": kernel_id}})
    assert (answer.status_code, answer.json()["message"]) == (409, "KERNEL_ID is in use.")
    assert "ada" not in answer.text
    assert server.request("GET", f"/api/kernels/{kernel_id}").status_code == 404
    assert server.request("DELETE", f"/api/kernels/{kernel_id}").status_code == 404
    assert len(cluster.pods(kernel_id)) == 1
    server.token = "token-of-ada"
    server.stop_kernel(kernel_id)
