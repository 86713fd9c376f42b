import importlib.util

import pytest

from kernel_launchers.errors import NotInstalled
from kernel_launchers.options import read_options
from kernel_launchers.spark.check import check


@pytest.fixture(autouse=True)
def without_pyspark(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)


def asking(language):
    arguments = ["--language", language, "--spark-context-initialization-mode", "lazy", "connection.json"]
    return read_options(arguments, {})


@pytest.mark.parametrize("language", ["python", "scala", "r"])
def test_an_image_without_spark_is_told_what_it_lacks(monkeypatch, language):
    monkeypatch.delenv("SPARK_HOME", raising=False)
    with pytest.raises(NotInstalled, match="pyspark isn't installed in its image"):
        check(asking(language))


def test_an_image_whose_r_has_a_package_for_spark_needs_no_pyspark(monkeypatch):
    monkeypatch.setenv("SPARK_HOME", "/opt/spark")
    check(asking("r"))
    with pytest.raises(NotInstalled):
        check(asking("python"))
