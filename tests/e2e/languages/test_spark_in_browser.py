"""Spark's UI in a real browser, which shows a kernel's pages without an origin of their own."""

from __future__ import annotations

import pytest
from tests.support.jupyterlab import look_in_browser
from tests.support.kernel_socket import KernelSocket
from tests.support.spark import spark_gateway, spark_installation
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400), pytest.mark.usefixtures("spark")]

NAME = "spark_python_kubernetes"
_SESSION_SECONDS = 120
_JOB = "sc.setJobDescription('the slow one')\nspark.range(8, numPartitions=8).rdd.foreach(lambda _: __import__('time').sleep(60))"
# The bar is laid out by the page's style sheet; rows come with the page, or, of executors, by its scripts from the port.
_SHOWN = """
const rows = [...document.querySelectorAll(ROWS)].map(row => row.innerText);
return rows.length && {rows: rows, bar: getComputedStyle(document.querySelector('.navbar')).display};
"""


@pytest.fixture(scope="module")
def server(spark, tmp_path_factory):
    with spark_installation(tmp_path_factory.mktemp("spark")) as made:
        made.deliver(NAME)
        yield spark_gateway(made).start()


@pytest.fixture(scope="module")
def busy_kernel(server):
    """The address of the UI of a kernel whose job runs."""
    kernel_id = server.start_kernel(NAME, env={"KERNEL_EXECUTORS": "1", "KERNEL_EXECUTOR_CPUS": "0"})
    root = f"/api/kernels/{kernel_id}/proxy/4040"
    with KernelSocket(server, kernel_id) as client:
        client.run("spark.range(3).count()", _SESSION_SECONDS)
        client.execute(_JOB)
        (application,) = server.request("GET", f"{root}/api/v1/applications").json()
        jobs = f"{root}/api/v1/applications/{application['id']}/jobs?status=running"
        wait_until(lambda: server.request("GET", jobs).json(), timeout=30)
        yield f"{server.url}{root}"
    server.stop_kernel(kernel_id)


@pytest.mark.parametrize(
    ("page", "rows", "word"),
    [("jobs", "#activeJob-table tbody tr", "the slow one"), ("executors", "#active-executors-table tbody tr", "driver")],
)
def test_a_page_of_a_running_job_has_its_style_and_what_its_scripts_put_into_it(server, busy_kernel, page, rows, word):
    shown = look_in_browser(f"{busy_kernel}/{page}/?token={server.token}", _SHOWN.replace("ROWS", repr(rows)))
    assert any(word in row for row in shown["seen"]["rows"]), shown
    assert shown["seen"]["bar"] == "flex"
    assert shown["complaints"] == []
