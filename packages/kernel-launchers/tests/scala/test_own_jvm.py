import pytest

from kernel_launchers.jvm_process import JvmFailed
from kernel_launchers.scala.own_jvm import jars


def test_an_image_without_scala_is_told_what_it_lacks(monkeypatch, tmp_path):
    monkeypatch.setenv("SCALA_JARS", str(tmp_path))
    with pytest.raises(JvmFailed, match=f"there is no Scala compiler in {tmp_path}"):
        jars()
