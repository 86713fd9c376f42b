"""R kernels in images with SparkR or sparklyr, in whose place are packages of a few lines: what they start, and when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.images import IMAGES, require_docker, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

pytestmark = [pytest.mark.docker, pytest.mark.timeout(120)]

_PACKAGES = Path(__file__).parents[2] / "support" / "r_packages"
# Installs the packages, then is R as the launcher starts it, with code in the kernel's place.
_RUN = """
import json, os, pathlib, subprocess, sys
from kernel_launchers.languages.r import command
from kernel_launchers.options import read_options
for path, text in json.loads(os.environ.pop("FILES")).items():
    target = pathlib.Path("/tmp/packages", path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
os.mkdir("/tmp/library")
for package in pathlib.Path("/tmp/packages").iterdir():
    subprocess.run(["R", "CMD", "INSTALL", "--no-docs", "--library=/tmp/library", str(package)], check=True, capture_output=True)
os.environ["R_LIBS"] = "/tmp/library"
mode, code = sys.argv[1:]
words = [code if word == "IRkernel::main()" else word for word in command(read_options(
    ["--language", "r", "--spark-context-initialization-mode", mode, "/tmp/connection.json"], {}), "/tmp/connection.json")]
os.execv(words[0], words)
"""
_ENVIRONMENT = {
    "KERNEL_ID": "k1",
    "KERNEL_POD_NAME": "pod-1",
    "KERNEL_POD_IP": "10.0.0.1",
    "SPARK_HOME": "/opt/spark-home",
    "KUBERNETES_SERVICE_HOST": "10.0.0.2",
    "KERNEL_EXTRA_SPARK_OPTS": "--conf 'spark.words=two words' --jars a.jar",
}


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = require_docker()
    yield client
    client.close()


def said(engine: docker.DockerClient, package: str, code: str, *, mode: str = "lazy", **more: str) -> list[str]:
    """Return the lines that R printed, in an image with a package."""
    root = _PACKAGES / package
    files = {f"{package}/{path.relative_to(root)}": path.read_text() for path in root.rglob("*") if path.is_file()}
    with running(
        engine,
        IMAGES["kernel-r"],
        entrypoint=["/opt/kernel/bin/python", "-c", _RUN, mode, code],
        environment={**_ENVIRONMENT, **more, "FILES": json.dumps(files)},
    ) as container:
        assert container.wait(timeout=60)["StatusCode"] == 0, container.logs().decode()
        return container.logs().decode().splitlines()


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("cat(spark)", "the session"),
        ("cat(sc)", "the context"),
        ('cat(sql("select 1"))', "the session ran select 1"),
        ("cat(sparkR.session(spark.mine = 1))", "the session"),
    ],
)
def test_whatever_asks_for_sparkrs_session_first_makes_it_with_what_spark_is_told_of_this_kernel(engine, code, last):
    begun, started, *rest = said(engine, "SparkR", f'cat("begun\\n"); {code}')
    assert (begun, rest) == ("begun", [last])
    assert started.startswith("started with --jars a.jar --conf spark.")
    assert started.endswith(" sparkr-shell and Hive FALSE ")
    for setting in (
        "'spark.words=two words'",
        "spark.master=k8s://https://10.0.0.2:443",
        "spark.driver.host=10.0.0.1",
        "spark.kubernetes.executor.label.kernel_id=k1",
    ):
        assert f"--conf {setting} " in started


def test_sparkrs_session_is_made_once_and_again_after_it_was_stopped(engine):
    lines = said(engine, "SparkR", 'writeLines(c(spark, sql("x"), sc)); sparkR.session.stop(); writeLines(spark)')
    assert [line.split()[0] for line in lines] == ["started", "the", "the", "the", "started", "the"]


def test_sparkrs_session_that_cannot_be_made_is_tried_again(engine):
    code = 'for (i in 1:2) cat(tryCatch(sql("x"), error = conditionMessage), "\\n"); Sys.unsetenv("SPARK_FAILS"); cat(sql("x"))'
    lines = said(engine, "SparkR", code, SPARK_FAILS="yes")
    assert [line for line in lines if not line.startswith("started")] == [
        "JVM is not ready ",
        "JVM is not ready ",
        "the session ran x",
    ]


def test_an_eager_session_of_sparkr_is_there_before_the_first_cell(engine):
    lines = said(engine, "SparkR", 'cat("begun\\n"); cat(spark)', mode="eager")
    assert [line.split()[0] for line in lines] == ["started", "begun", "the"]


def test_options_that_cannot_be_read_are_told_by_whatever_asks_for_the_session(engine):
    code = "cat(tryCatch(spark, error = conditionMessage))"
    assert said(engine, "SparkR", code, SPARK_OPTS="--conf 'a") == ["SPARK_OPTS can't be read: No closing quotation"]


def test_sparklyrs_connection_is_made_once_with_what_spark_is_told_of_this_kernel(engine):
    begun, connected, *rest = said(engine, "sparklyr", 'cat("begun\\n"); cat(spark, sql("select 1"), sc$open, sep = "\\n")')
    assert (begun, rest) == ("begun", ["the session", "sparklyr ran select 1", "TRUE"])
    assert connected.startswith("connected to k8s://https://10.0.0.2:443 by /opt/spark-home as kernel-k1 with --conf ")
    assert "--conf spark.words=two words " in connected
    assert "--conf spark.kubernetes.driver.pod.name=pod-1 " in connected
    assert connected.endswith("--jars a.jar ")
