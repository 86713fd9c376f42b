"""What a kernel says stays in its pod: gateways come and go, and no client misses a line or waits for an answer for ever."""

from __future__ import annotations

import json
import time

import pytest
import websocket
from tests.support.kernel_socket import PROTOCOLS, KernelSocket, text_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

NAME = "python_kubernetes"
LINES = 300
PRINT = f"import time\nfor number in range({LINES}):\n    print(number, flush=True)\n    time.sleep(0.01)"


def heard_until_the_break(client):
    """Return what came until the connection was lost."""
    heard = []
    try:
        while True:
            heard.append(client.receive())
    except (websocket.WebSocketException, OSError, AssertionError):
        return heard


def ended(messages, sent):
    mine = [message for message in messages if message.parent == sent.id]
    states = [message.content["execution_state"] for message in mine if message.type == "status"]
    return [message.content["status"] for message in mine if message.type == "execute_reply"], states


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_gateway_that_is_killed_in_the_middle_of_a_cell_costs_its_clients_nothing(installation, protocol):
    server = installation.gateway().start()
    kernel_id = server.start_kernel(NAME)
    client = KernelSocket(server, kernel_id, protocol=protocol)
    sent = client.execute(PRINT)
    first = list(client.until(lambda message: message.type == "stream" and "50" in message.content["text"]))
    server.kill()
    first += heard_until_the_break(client)
    server.start()
    with client.back_at(server) as back:
        then = back.collect(sent, timeout=60)
    lines = text_of([message for message in first + then if message.parent == sent.id]).split()
    # What was delivered within the last moment before the end may come once more.
    assert sorted(set(map(int, lines))) == list(range(LINES))
    assert len(lines) - LINES <= 20
    replies, states = ended(first + then, sent)
    assert (replies, states[-1]) == (["ok"], "idle")
    client.close()


def test_a_cell_that_ends_while_no_gateway_runs_has_its_end(installation):
    server = installation.gateway().start()
    kernel_id = server.start_kernel(NAME)
    client = KernelSocket(server, kernel_id)
    sent = client.execute("print('begun', flush=True)\nimport time; time.sleep(2)\nprint('over')\n1 / 0")
    first = list(client.until(lambda message: message.type == "stream"))
    server.kill()
    time.sleep(3)
    server.start()
    with client.back_at(server) as back:
        then = back.collect(sent)
    lines = text_of([message for message in first + then if message.parent == sent.id]).split()
    # The first line was delivered in the moment before the end, and may come once more.
    assert lines in (["begun", "over"], ["begun", "begun", "over"])
    assert ended(first + then, sent)[0] == ["error"]
    client.close()


def test_a_gateway_that_is_stopped_in_the_middle_of_a_cell_repeats_and_loses_nothing(replicas):
    one, other = replicas(DRAIN_TIMEOUT="0")
    kernel_id = one.start_kernel(NAME)
    client = KernelSocket(one, kernel_id)
    sent = client.execute(PRINT)
    first = list(client.until(lambda message: message.type == "stream" and "50" in message.content["text"]))
    one.process.terminate()
    first += heard_until_the_break(client)
    with client.back_at(other) as back:
        then = back.collect(sent, timeout=60)
    mine = [message for message in first + then if message.parent == sent.id]
    assert text_of(mine).split() == [str(number) for number in range(LINES)]
    assert ended(mine, sent)[0] == ["ok"]
    client.close()


def test_a_session_that_changes_over_in_the_middle_of_a_cell_goes_on_there(replicas):
    one, other = replicas()
    kernel_id = one.start_kernel(NAME)
    client = KernelSocket(one, kernel_id)
    sent = client.execute(PRINT)
    first = list(client.until(lambda message: message.type == "stream" and "50" in message.content["text"]))
    with client.back_at(other) as back:
        first += heard_until_the_break(client)
        client.close()
        then = back.collect(sent, timeout=60)
    mine = [message for message in first + then if message.parent == sent.id]
    assert text_of(mine).split() == [str(number) for number in range(LINES)]


def test_a_restart_keeps_the_pod_and_its_files_for_the_clients_of_both_replicas(replicas, cluster, until):
    one, other = replicas()
    kernel_id = one.start_kernel(NAME)
    pod = cluster.pod(kernel_id)["metadata"]["uid"]
    with KernelSocket(one, kernel_id) as client, KernelSocket(other, kernel_id) as elsewhere:
        client.run("open('kept', 'w').write('kept'); value = 1")
        waiting = elsewhere.execute("import time; time.sleep(60)")
        elsewhere.wait_for(lambda message: message.type == "execute_input" and message.parent == waiting.id)
        began = time.monotonic()
        assert one.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).status_code == 200
        assert time.monotonic() - began < 10
        answers = elsewhere.collect(waiting)
        assert [message.content["evalue"] for message in answers if message.type == "execute_reply"] in (
            ["The kernel was restarted."],
            [""],  # the cell was interrupted first, and said so itself
        )
        assert text_of(client.run("print(open('kept').read(), 'value' in globals())")) == "kept False\n"
        until(lambda: other.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle")
        assert text_of(elsewhere.run("print('here')")) == "here\n"
    assert cluster.pod(kernel_id)["metadata"]["uid"] == pod


def test_a_kernel_that_dies_is_started_again_in_its_pod_once(replicas, cluster, until):
    one, other = replicas()
    kernel_id = one.start_kernel(NAME)
    pod = cluster.pod(kernel_id)["metadata"]["uid"]
    with KernelSocket(one, kernel_id) as client, KernelSocket(other, kernel_id) as elsewhere:
        client.run("open('kept', 'w').write('kept')")
        answers = client.run("import os; os._exit(5)")
        told = [message.content["evalue"] for message in answers if message.type == "execute_reply"]
        assert told == ["The kernel exited with status 5."]
        elsewhere.wait_for(lambda message: message.type == "status" and message.content["execution_state"] == "restarting")
        for server in (one, other):
            until(lambda server=server: server.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle")
        assert text_of(client.run("print(open('kept').read())")) == "kept\n"
        assert text_of(elsewhere.run("print('here')")) == "here\n"
    assert cluster.pod(kernel_id)["metadata"]["uid"] == pod
    assert other.request("GET", f"/api/kernels/{kernel_id}").json().get("reason") is None


def test_a_client_that_reads_slowly_gets_everything_and_holds_up_nobody(replicas):
    one, _ = replicas()
    kernel_id = one.start_kernel(NAME)
    with KernelSocket(one, kernel_id) as fast, KernelSocket(one, kernel_id) as slow:
        sent = fast.execute("for number in range(300): print(number, 'x' * 100_000, flush=True)")
        answers = fast.collect(sent, timeout=60)
        mine = [text for text in text_of(answers).split() if text.isdigit()]
        late = [
            message
            for message in slow.until(
                lambda message: (
                    message.type == "status" and message.parent == sent.id and message.content["execution_state"] == "idle"
                ),
                timeout=60,
            )
            if message.parent == sent.id
        ]
    assert [text for text in text_of(late).split() if text.isdigit()] == mine == [str(number) for number in range(300)]


def test_only_the_supervisor_listens_and_a_kernel_reads_neither_its_memory_nor_the_gateways_key(replicas, cluster):
    one, _ = replicas()
    kernel_id = one.start_kernel(NAME)
    code = (
        "import pathlib\n"
        "rows = [row.split() for name in ('tcp', 'tcp6') for row in open(f'/proc/net/{name}').readlines()[1:]]\n"
        "print({int(row[1].split(':')[1], 16) for row in rows if row[3] == '0A' and not row[1].startswith('0100007F')})\n"
        "files = pathlib.Path('/var/run/kernel-connection').iterdir()\n"
        "print([file.name for file in files if not file.name.startswith('.')])\n"
        "import os\n"
        "print([os.access(f'/proc/1/{name}', os.R_OK) for name in ('mem', 'environ')])"
    )
    with KernelSocket(one, kernel_id) as client:
        ports, files, memory = text_of(client.run(code)).splitlines()
    assert (ports, files, memory) == ("{52316}", "['connection.json']", "[False, False]")
    pod = cluster.pod(kernel_id)["metadata"]
    secrets = json.loads(cluster.kubectl("get", "secrets", "-n", pod["namespace"], "-l", f"kernel_id={kernel_id}", "-o", "json"))
    assert "gateway.key" in secrets["items"][0]["data"]
