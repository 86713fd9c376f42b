"""Spark from Scala and R, as their kernelspecs are delivered; what isn't a language's is tested with Python's."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from tests.support.kernel_socket import KernelSocket, text_of
from tests.support.spark import executors, spark_gateway, spark_installation
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.usefixtures("spark_dialects")]

_SESSION_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The same work in the words of one kernelspec."""

    kernelspec: str
    total: str
    """Prints the sum of ten million numbers, computed by executors."""
    own: str
    """Prints 70, by what the notebook itself defines or holds."""
    waits: str
    """Prints `begun` and runs a job that takes five minutes."""
    after: str
    """Prints 11, counted by a job, and the number of jobs that run, which is 0."""


_SCALA = Dialect(
    kernelspec="spark_scala_kubernetes",
    total='println(spark.range(10000000L).selectExpr("sum(id)").first().getLong(0))',
    own="case class Point(x: Int)\nval factor = 7\nprintln(sc.parallelize(1 to 4).map(Point(_)).map(_.x * factor).collect().sum)",
    waits='println("begun"); sc.parallelize(1 to 4, 4).foreach(_ => Thread.sleep(300000))',
    after='println(spark.range(11).count() + " " + sc.statusTracker.getActiveJobIds().length)',
)
_R = Dialect(
    kernelspec="spark_R_kubernetes",
    total='cat(sprintf("%.0f\\n", spark$range(10000000L)$selectExpr("sum(id)")$first()[[0]]))',
    own='cat(sum(collect(createDataFrame(data.frame(x = c(1, 2, 3, 4)))$selectExpr("x * 7 as y"))$y), "\\n")',
    waits='cat("begun\\n"); flush.console()\n'
    "sc$parallelize(as.list(1:4), 4L)$foreach(reticulate::py_eval(\"lambda _: __import__('time').sleep(300)\"))",
    after='cat(spark$range(11L)$count(), length(sc$statusTracker()$getActiveJobsIds()), "\\n")',
)


@pytest.fixture(scope="module")
def installation(spark_dialects, tmp_path_factory):
    with spark_installation(tmp_path_factory.mktemp("spark")) as made:
        for dialect in (_SCALA, _R):
            made.deliver(dialect.kernelspec)
        yield made


@pytest.fixture(scope="module")
def server(installation):
    return spark_gateway(installation).start()


@pytest.fixture(scope="module", params=[_SCALA, _R], ids=["scala", "R"])
def dialect(request):
    return request.param


@pytest.fixture(scope="module")
def kernel_id(server, dialect):
    # More than half of a node's two processors: the second executor needs the other node.
    return server.start_kernel(dialect.kernelspec, env={"KERNEL_EXECUTOR_CPUS": "1100m"})


@pytest.fixture
def client(server, kernel_id):
    with KernelSocket(server, kernel_id) as opened:
        yield opened


def test_a_sum_is_computed_by_executors_on_two_nodes(client, dialect, installation, kernel_id):
    assert "49999995000000" in text_of(client.run(dialect.total, _SESSION_SECONDS)).split()
    wait_until(lambda: len({pod["spec"].get("nodeName") for pod in executors(installation, kernel_id)}) == 2, timeout=60)


def test_what_the_notebook_defines_or_holds_reaches_the_executors(client, dialect):
    assert text_of(client.run(dialect.own, _SESSION_SECONDS)).split() == ["70"]


def test_an_interrupt_ends_the_cell_and_its_jobs_and_the_session_goes_on(client, dialect, server, kernel_id):
    client.run(dialect.after, _SESSION_SECONDS)
    sent = client.execute(dialect.waits)
    client.wait_for(lambda message: message.type == "stream" and "begun" in message.content["text"], 60)
    wait_until(lambda: server.request("GET", f"/api/kernels/{kernel_id}").json()["execution_state"] == "busy", timeout=10)
    assert server.request("POST", f"/api/kernels/{kernel_id}/interrupt", json={}).status_code == 204
    assert any(message.type == "execute_reply" for message in client.collect(sent, 20))
    wait_until(lambda: text_of(client.run(dialect.after, 60)).split() == ["11", "0"], timeout=30)


def test_a_session_that_is_made_with_the_start_waits_for_no_cell(dialect, installation, server):
    name = f"eager_{dialect.kernelspec}"
    spec = json.loads(installation.kernelspec_text(dialect.kernelspec).replace('"lazy"', '"eager"'))
    installation.write_kernelspec(name, spec, {})
    wait_until(lambda: server.request("GET", f"/api/kernelspecs/{name}").status_code == 200, timeout=10)
    kernel_id = server.start_kernel(name, env={"KERNEL_EXECUTORS": "1", "KERNEL_EXECUTOR_CPUS": "0"})
    wait_until(lambda: executors(installation, kernel_id), timeout=_SESSION_SECONDS)
    with KernelSocket(server, kernel_id) as own:
        assert text_of(own.run(dialect.after, _SESSION_SECONDS)).split() == ["11", "0"]
    server.stop_kernel(kernel_id)


def test_a_session_that_cannot_be_made_says_why(dialect, server):
    options = "--conf spark.executor.memory=none"
    kernel_id = server.start_kernel(dialect.kernelspec, env={"KERNEL_EXTRA_SPARK_OPTS": options})
    with KernelSocket(server, kernel_id) as own:
        for _ in range(2):
            reply = next(message for message in own.run(dialect.after, _SESSION_SECONDS) if message.type == "execute_reply")
            assert "Executor memory must be a positive number" in str(reply.content)
    server.stop_kernel(kernel_id)


def test_the_end_of_a_kernel_ends_its_executors(client, dialect, installation, server, kernel_id):
    client.run(dialect.after, _SESSION_SECONDS)
    assert executors(installation, kernel_id)
    server.stop_kernel(kernel_id)
    wait_until(lambda: executors(installation, kernel_id) == [], timeout=60)
