"""Spark from Python, as its kernelspec is delivered: the kernel is the driver, and its executors are pods on other nodes too."""

from __future__ import annotations

import json
import os
import re
import uuid

import pytest
import requests
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.older_spark import OLDER_TEMPLATE, older_spark_kernelspec
from tests.support.spark import executors, spark_gateway, spark_installation
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400), pytest.mark.usefixtures("spark")]

NAME = "spark_python_kubernetes"
_IMAGE = os.environ.get("EG_E2E_SPARK_IMAGE", "elyra/kernel-spark-py:dev")
_SESSION_SECONDS = 120
# For tests that need an executor on no certain node: one that also fits a full node.
_SMALL = {"KERNEL_EXECUTORS": "1", "KERNEL_EXECUTOR_CPUS": "0"}


@pytest.fixture(scope="module")
def installation(spark, tmp_path_factory):
    with spark_installation(tmp_path_factory.mktemp("spark")) as made:
        made.deliver(NAME, image=_IMAGE)
        yield made


@pytest.fixture(scope="module")
def server(installation):
    return spark_gateway(installation).start()


@pytest.fixture(scope="module")
def kernel_id(server):
    return server.start_kernel(NAME)


@pytest.fixture
def client(server, kernel_id):
    with KernelSocket(server, kernel_id) as opened:
        yield opened


def test_no_session_is_made_before_a_cell_names_one(client, installation, kernel_id):
    assert text_of(client.run("print('spark' in globals())")) == "False\n"
    assert executors(installation, kernel_id) == []


def test_a_sum_is_computed_by_executors_on_two_nodes(client, installation, kernel_id):
    told = client.run("print(spark.range(10_000_000).selectExpr('sum(id)').first()[0])", _SESSION_SECONDS)
    assert text_of(told) == "49999995000000\n"
    wait_until(lambda: len({pod["spec"].get("nodeName") for pod in executors(installation, kernel_id)}) == 2, timeout=60)
    for pod in executors(installation, kernel_id):
        assert pod["metadata"]["labels"]["app"] == "enterprise-gateway"
        assert pod["metadata"]["ownerReferences"][0]["name"] == next(
            each["metadata"]["name"]
            for each in installation.cluster.pods(kernel_id)
            if each not in executors(installation, kernel_id)
        )
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


def test_executors_are_no_kernels(server, client, kernel_id):
    client.run("spark.range(3).count()", _SESSION_SECONDS)
    assert server.kernel_ids() == {kernel_id}


def test_a_function_of_the_notebook_runs_on_executors(client):
    code = "factor = 7\nprint(spark.range(4).rdd.map(lambda row: row[0] * factor).collect())"
    assert text_of(client.run(code, _SESSION_SECONDS)) == "[0, 7, 14, 21]\n"


def test_an_interrupt_ends_the_cell_and_its_jobs_and_the_next_cell_gets_its_own_answer(client, server, kernel_id):
    client.run("spark", _SESSION_SECONDS)
    sent = client.execute(
        "import time\nprint('begun', flush=True)\nspark.range(4, numPartitions=4).rdd.map(lambda _: time.sleep(300)).count()"
    )
    client.wait_for(lambda message: message.type == "stream" and "begun" in message.content["text"], 60)
    assert server.request("POST", f"/api/kernels/{kernel_id}/interrupt", json={}).status_code == 204
    reply = next(message for message in client.collect(sent, 20) if message.type == "execute_reply")
    assert reply.content["ename"] == "KeyboardInterrupt"
    assert text_of(client.run("print(spark.range(11).count(), sc.statusTracker().getActiveJobsIds())", 60)) == "11 []\n"


def test_the_sessions_ui_shows_through_the_gateway_to_who_has_the_token_or_the_pages_address(client, server, kernel_id):
    client.run("spark", _SESSION_SECONDS)
    root = f"/api/kernels/{kernel_id}/proxy/4040/"
    found = server.request("GET", root, headers={"Accept": "text/html"}, allow_redirects=False)
    assert found.status_code == 303
    page = found.headers["Location"]
    shown = requests.get(server.url + page, timeout=60)
    assert (shown.status_code, shown.url) == (200, f"{server.url}{page}jobs/")
    assert "Spark Jobs" in shown.text
    assert "sandbox allow-downloads" in shown.headers["Content-Security-Policy"]
    # Whatever it loads comes from under its own path.
    linked = re.findall(r'(?:src|href)="(/[^"]+)"', shown.text)
    assert linked
    assert all(each.startswith(page) for each in linked), linked
    script = next(each for each in linked if each.endswith(".js"))
    assert (
        requests.get(server.url + script, timeout=60)
        .headers["Content-Type"]
        .startswith(("text/javascript", "application/javascript"))
    )
    (application,) = server.request("GET", root + "api/v1/applications").json()
    executors_of = f"{page}api/v1/applications/{application['id']}/allexecutors"
    assert "driver" in {each["id"] for each in requests.get(server.url + executors_of, timeout=60).json()}
    assert server.request("GET", f"/api/kernels/{kernel_id}/proxy/22321/").status_code == 403


def test_a_session_that_cannot_be_made_says_why_and_leaves_the_kernel_well(installation, server):
    kernel_id = server.start_kernel(NAME, env={"KERNEL_EXTRA_SPARK_OPTS": "--conf spark.executor.memory=none"})
    with KernelSocket(server, kernel_id) as client:
        reply = next(message for message in client.run("spark", _SESSION_SECONDS) if message.type == "execute_reply")
        assert reply.content["ename"] == "SparkSessionFailed"
        assert reply.content["evalue"].endswith("Executor memory must be a positive number")
        assert text_of(client.run("print(6 * 7)")) == "42\n"
    server.stop_kernel(kernel_id)


def test_a_session_that_failed_leaves_the_next_try_nothing_in_the_way(installation):
    # Without the right to make pods.
    server = installation.gateway(KERNEL_CLUSTER_ROLE="").start()
    kernel_id = server.start_kernel(NAME)
    with KernelSocket(server, kernel_id) as client:
        for _ in range(2):
            reply = next(message for message in client.run("spark", _SESSION_SECONDS) if message.type == "execute_reply")
            assert reply.content["ename"] == "SparkSessionFailed"
            assert "forbidden" in reply.content["evalue"] or "waiting for backend" in reply.content["evalue"]
    server.stop_kernel(kernel_id)
    server.stop()


def test_a_session_that_the_notebook_makes_itself_is_the_only_one_and_in_the_cluster(server):
    kernel_id = server.start_kernel(NAME)
    code = (
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.config('spark.mine', 'yes').getOrCreate()\n"
        "print(spark.conf.get('spark.mine'), spark.sparkContext.master.partition(':')[0], spark.range(3).count())"
    )
    with KernelSocket(server, kernel_id) as client:
        assert text_of(client.run(code, _SESSION_SECONDS)) == "yes k8s 3\n"
        assert text_of(client.run("print(sc is spark.sparkContext, sql('select 7').first()[0])", _SESSION_SECONDS)) == "True 7\n"
    server.stop_kernel(kernel_id)


def test_a_kernelspec_of_enterprise_gateway_runs_with_no_more_changed_than_its_image(installation, server):
    spec = older_spark_kernelspec("older_spark", _IMAGE)
    installation.write_kernelspec("older_spark", spec, {"scripts/kernel-pod.yaml.j2": OLDER_TEMPLATE})
    kernel_id = server.start_kernel("older_spark", env={**_SMALL, "KERNEL_EXTRA_SPARK_OPTS": "--conf spark.mine=yes"})
    with KernelSocket(server, kernel_id) as client:
        told = client.run(
            "print(spark.conf.get('spark.mine'), spark.range(1000).selectExpr('sum(id)').first()[0])", _SESSION_SECONDS
        )
        assert text_of(told) == "yes 499500\n"
        assert executors(installation, kernel_id)
    server.stop_kernel(kernel_id)


@pytest.fixture
def restricted(installation):
    """Return a namespace of the strictest level, whose account may start executors, and remove it."""
    name, instance = f"spark-{installation.cluster.instance}", installation.cluster.instance
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"{instance}-kernel"}
    account = {"kind": "ServiceAccount", "name": "default", "namespace": name}
    labels = {"app.kubernetes.io/instance": instance, "pod-security.kubernetes.io/enforce": "restricted"}
    documents = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "kernels", "namespace": name},
            "roleRef": role,
            "subjects": [account],
        },
    ]
    for document in documents:
        installation.cluster.kubectl("apply", "-f", "-", input=json.dumps(document))
    yield name
    installation.cluster.kubectl("delete", "namespace", name, "--wait=false")


_HOST_PATH = "spark.kubernetes.executor.volumes.hostPath.host"
_BY_OPTIONS = {
    "hostPath": f"--conf {_HOST_PATH}.mount.path=/host --conf {_HOST_PATH}.options.path=/etc",
    "another template": "--conf spark.kubernetes.executor.podTemplateFile=/tmp/privileged.json",
    "another account": "--conf spark.kubernetes.authenticate.executor.serviceAccountName=robot",
    "another namespace": "--conf spark.kubernetes.namespace=kube-system",
}
_BY_TEMPLATE = {
    "hostPath": "{volumes: [{name: host, hostPath: {path: /etc}}]}",
    "privileged": "{containers: [{name: executor, securityContext: {privileged: true}}]}",
    "root": "{securityContext: {runAsUser: 0}}",
    "another account": "{serviceAccountName: robot}",
}


@pytest.mark.parametrize(("asked", "spec"), _BY_TEMPLATE.items(), ids=_BY_TEMPLATE)
def test_a_template_of_executors_that_reaches_out_of_its_pod_is_refused_at_the_start(installation, server, asked, spec):
    name = f"reaching-{asked.lower().replace(' ', '-')}"
    installation.write_kernelspec(
        name,
        older_spark_kernelspec(name, _IMAGE),
        {"scripts/executor-pod.yaml.j2": f"kind: Pod\nspec: {spec}\n"},
    )
    # A folder that is new is seen at the next reading of all.
    wait_until(lambda: server.request("GET", f"/api/kernelspecs/{name}").status_code == 200, timeout=10)
    kernel_id = str(uuid.uuid4())
    answer = server.request("POST", "/api/kernels", json={"name": name, "env": {"KERNEL_ID": kernel_id}})
    assert answer.status_code == 403
    assert "executor template asks for" in answer.json()["message"]
    assert installation.cluster.objects(kernel_id) == []


def test_what_options_ask_of_executors_beyond_the_level_of_their_namespace_is_refused_and_the_rest_has_no_effect(
    installation, restricted
):
    server = installation.gateway(SPARK_NAMESPACE=restricted).start()
    for asked, options in _BY_OPTIONS.items():
        kernel_id = server.start_kernel(NAME, env={**_SMALL, "KERNEL_EXTRA_SPARK_OPTS": options})
        (pod,) = installation.cluster.pods(kernel_id)
        assert pod["metadata"]["namespace"] == restricted
        with KernelSocket(server, kernel_id) as client:
            told = client.run("print(spark.range(3).count())", _SESSION_SECONDS)
            reply = next(message for message in told if message.type == "execute_reply")
            if asked in {"hostPath", "another account"}:
                assert reply.content["ename"] == "SparkSessionFailed", asked
                assert executors(installation, kernel_id) == []
            else:
                # What the kernel decides itself: its own template and namespace.
                assert text_of(told) == "3\n", asked
                assert {pod["metadata"]["namespace"] for pod in executors(installation, kernel_id)} == {restricted}
        server.stop_kernel(kernel_id)
    server.stop()


def test_any_user_id_can_run_a_session_with_its_executors(installation, server):
    kernel_id = server.start_kernel(NAME, env={"KERNEL_UID": "12345", "KERNEL_EXECUTORS": "1", "KERNEL_EXECUTOR_CPUS": "100m"})
    with KernelSocket(server, kernel_id) as client:
        assert text_of(client.run("print(spark.range(3).count(), sc.sparkUser())", _SESSION_SECONDS)) == "3 uid-12345\n"
    assert {pod["spec"]["securityContext"]["runAsUser"] for pod in executors(installation, kernel_id)} == {12345}
    server.stop_kernel(kernel_id)


def test_a_session_that_is_made_beside_the_start_waits_for_no_cell(installation, server):
    spec = json.loads(installation.kernelspec_text(NAME).replace('"lazy"', '"eager"'))
    installation.write_kernelspec("eager_spark", {**spec, "display_name": "eager"}, {})
    wait_until(lambda: server.request("GET", "/api/kernelspecs/eager_spark").status_code == 200, timeout=10)
    kernel_id = server.start_kernel("eager_spark", env=_SMALL)
    wait_until(lambda: executors(installation, kernel_id), timeout=_SESSION_SECONDS)
    with KernelSocket(server, kernel_id) as client:
        assert text_of(client.run("print(spark.range(3).count())", _SESSION_SECONDS)) == "3\n"
    server.stop_kernel(kernel_id)


def test_executors_that_no_node_takes_are_told_in_the_cell_that_waits_for_them(server):
    kernel_id = server.start_kernel(NAME, env={**_SMALL, "KERNEL_EXECUTOR_CPUS": "64"})
    with KernelSocket(server, kernel_id) as client:
        client.execute("spark.range(3).count()")
        told = client.wait_for(lambda message: "no executor" in str(message.content.get("text")), _SESSION_SECONDS)
        assert told.content["name"] == "stderr"
        assert "Spark has no executor yet: 0/2 nodes are available" in told.content["text"]
        assert "Insufficient cpu" in told.content["text"]
    server.stop_kernel(kernel_id)


_SLOW_SUM = """
import time
def slow(row):
    time.sleep(2)
    return row[0]
print("begun", flush=True)
print(spark.range(8, numPartitions=8).rdd.map(slow).sum())
"""


def test_a_job_ends_right_though_an_executor_is_lost_in_the_middle_of_it(installation, server):
    kernel_id = server.start_kernel(NAME, env={**_SMALL, "KERNEL_EXECUTORS": "2"})
    with KernelSocket(server, kernel_id) as client:
        client.run("spark.range(3).count()", _SESSION_SECONDS)
        sent = client.execute(_SLOW_SUM)
        client.wait_for(lambda message: message.type == "stream" and "begun" in message.content["text"], 60)
        lost = executors(installation, kernel_id)[0]["metadata"]
        installation.cluster.kubectl("delete", "pod", "--namespace", lost["namespace"], lost["name"], "--wait=false")
        assert "28\n" in text_of(client.collect(sent, _SESSION_SECONDS))
    server.stop_kernel(kernel_id)


def test_a_job_outlives_the_gateway_and_its_result_reaches_the_client_that_comes_back(server, client, kernel_id):
    client.run("spark.range(3).count()", _SESSION_SECONDS)
    sent = client.execute(_SLOW_SUM)
    client.wait_for(lambda message: message.type == "stream" and "begun" in message.content["text"], 60)
    jobs = _jobs_of(server, kernel_id)
    wait_until(lambda: server.request("GET", jobs).json(), timeout=30)
    server.kill()
    server.start()
    with client.back_at(server) as back:
        assert "28\n" in text_of(back.collect(sent, _SESSION_SECONDS))


def _jobs_of(server, kernel_id):
    """Return where the jobs are listed that run, of a kernel with a session."""
    root = f"/api/kernels/{kernel_id}/proxy/4040/api/v1/applications"
    (application,) = server.request("GET", root).json()
    return f"{root}/{application['id']}/jobs?status=running"


def test_executors_come_and_go_with_the_work_where_they_are_allotted_dynamically(installation, server):
    options = {
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.maxExecutors": "2",
        "spark.dynamicAllocation.executorIdleTimeout": "2s",
    }
    confs = " ".join(f"--conf {name}={value}" for name, value in options.items())
    kernel_id = server.start_kernel(
        NAME, env={"KERNEL_EXECUTOR_CPUS": "0", "KERNEL_EXECUTORS": "0", "KERNEL_EXTRA_SPARK_OPTS": confs}
    )
    with KernelSocket(server, kernel_id) as client:
        client.run("spark", _SESSION_SECONDS)
        assert executors(installation, kernel_id) == []
        sent = client.execute(_SLOW_SUM)
        wait_until(lambda: executors(installation, kernel_id), timeout=_SESSION_SECONDS)
        assert "28\n" in text_of(client.collect(sent, _SESSION_SECONDS))
        wait_until(lambda: executors(installation, kernel_id) == [], timeout=60)
    server.stop_kernel(kernel_id)


def test_a_restart_and_the_end_of_a_kernel_end_its_executors(installation, server, kernel_id, client):
    client.run("spark.range(3).count()", _SESSION_SECONDS)
    before = {pod["metadata"]["uid"] for pod in executors(installation, kernel_id)}
    assert before
    assert server.request("POST", f"/api/kernels/{kernel_id}/restart", json={}).status_code == 200
    wait_until(lambda: not before & {pod["metadata"]["uid"] for pod in executors(installation, kernel_id)}, timeout=60)
    assert text_of(client.run("print(spark.range(5).count())", _SESSION_SECONDS)) == "5\n"
    server.stop_kernel(kernel_id)
    wait_until(lambda: executors(installation, kernel_id) == [], timeout=30)
