"""How Spark's JVM is started, with a program in Java's place; the real one is tested in pods."""

import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from kernel_launchers.jvm_process import JvmFailed
from kernel_launchers.spark import driver_jvm
from kernel_launchers.spark.submit import Submission

# Spark's launcher prints a mark, then words that end with NUL; anything else is the JVM itself.
_JAVA = r"""#!/bin/sh
case "$*" in
  *org.apache.spark.launcher.Main*)
    cat "$FAKE_SAID" >&2
    printf '\0\n'
    jars=$SPARK_HOME/jars heap=${FAKE_HEAP:--Xmx1g}
    printf '%s\0' "$0" -cp "$SPARK_HOME/conf/:$FAKE_FIRST$jars/slf4j-api-2.jar:$jars/*" $heap org.apache.spark.deploy.SparkSubmit
    ;;
  *)
    echo $$ > "$FAKE_PROCESS"
    FAKE_JVM
    ;;
esac
"""
# As Spark does: whoever waits for the file finds it whole.
_ANSWERS = r"""printf '\000\000\020\222\000\000\000\004word' > "$_PYSPARK_DRIVER_CONN_INFO_PATH.new"
mv "$_PYSPARK_DRIVER_CONN_INFO_PATH.new" "$_PYSPARK_DRIVER_CONN_INFO_PATH"; read -r _"""
_NOTHING = Submission({}, [])


@pytest.fixture
def image(tmp_path, monkeypatch):
    """An image with Spark's jars and a Java that does what `jvm` says."""
    jars = tmp_path / "spark" / "jars"
    jars.mkdir(parents=True)
    for name in ("spark-launcher_2.13-4.jar", "slf4j-api-2.jar", "a.jar"):
        (jars / name).touch()
    (tmp_path / "said").touch()
    monkeypatch.setenv("SPARK_HOME", str(tmp_path / "spark"))
    monkeypatch.setenv("FAKE_SAID", str(tmp_path / "said"))
    monkeypatch.setenv("FAKE_PROCESS", str(tmp_path / "process"))
    monkeypatch.setenv("FAKE_FIRST", "")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def with_jvm(jvm=_ANSWERS):
        java = tmp_path / "java"
        java.write_text(_JAVA.replace("FAKE_JVM", jvm))
        java.chmod(java.stat().st_mode | stat.S_IXUSR)
        return tmp_path

    return with_jvm


def classpath_of(words):
    return [Path(place).name for place in words[words.index("-cp") + 1].split(os.pathsep)]


def test_jars_stand_one_by_one_before_folders_so_that_kept_classes_fit(image):
    image()
    words = driver_jvm.command(_NOTHING, "-Dours=1")
    assert classpath_of(words) == ["slf4j-api-2.jar", "a.jar", "spark-launcher_2.13-4.jar", "conf"]
    assert words[1] == "-Dours=1"
    assert words[-2:] == ["-Xmx1g", "org.apache.spark.deploy.SparkSubmit"]


def test_classes_that_a_user_puts_first_stay_first(image, monkeypatch):
    image()
    monkeypatch.setenv("FAKE_FIRST", "/mine:")
    words = driver_jvm.command(Submission({"spark.driver.extraClassPath": "/mine"}, []))
    assert classpath_of(words)[:2] == ["conf", "mine"]


def test_what_sparks_launcher_refuses_is_told_in_its_words(image):
    (image() / "said").write_text("Error: Unrecognized option: --nonsense\n")
    with pytest.raises(JvmFailed, match="Error: Unrecognized option: --nonsense"):
        driver_jvm.command(_NOTHING)


def test_an_image_without_sparks_jars_says_what_it_lacks(image):
    (image() / "spark" / "jars" / "spark-launcher_2.13-4.jar").unlink()
    with pytest.raises(JvmFailed, match="Spark's launcher isn't among the jars"):
        driver_jvm.command(_NOTHING)


def test_a_jvm_that_answers_is_handed_on_with_its_port_and_secret(image):
    image()
    jvm = driver_jvm.start(_NOTHING)
    assert (jvm.port, jvm.secret) == (4242, "word")
    jvm.process.stdin.close()
    assert jvm.process.wait(10) is not None


@pytest.mark.parametrize(
    ("heap", "chosen", "ours"),
    [("-Xmx1g", "", True), ("-Xmx1g", "-XX:+UseG1GC", False), ("-Xmx8g", "", False)],
)
def test_a_small_heap_has_a_simple_collector_unless_somebody_chose_another(image, monkeypatch, heap, chosen, ours):
    folder = image(f'echo "$@" > "$FAKE_SAID"; {_ANSWERS}')
    monkeypatch.setenv("FAKE_HEAP", heap)
    monkeypatch.setenv("JDK_JAVA_OPTIONS", chosen)
    jvm = driver_jvm.start(_NOTHING)
    jvm.process.stdin.close()
    jvm.process.wait(10)
    assert ("-XX:+UseSerialGC" in (folder / "said").read_text()) is ours


def test_a_jvm_that_ends_says_why(image):
    image("echo 'Exception in thread \"main\" a.b.SparkException: no room' >&2; exit 1")
    with pytest.raises(JvmFailed, match=r"^a\.b\.SparkException: no room$"):
        driver_jvm.start(_NOTHING, stderr=subprocess.PIPE)


def test_an_interrupt_leaves_no_jvm_behind(image, monkeypatch):
    folder = image("read -r _")
    waited = threading.Event()

    def interrupted(_seconds):
        if (folder / "process").is_file() and (folder / "process").read_text():
            waited.set()
            raise KeyboardInterrupt

    started = []
    monkeypatch.setattr(driver_jvm.time, "sleep", interrupted)
    popen = subprocess.Popen
    monkeypatch.setattr(
        driver_jvm.subprocess, "Popen", lambda *words, **more: started.append(popen(*words, **more)) or started[-1]
    )
    with pytest.raises(KeyboardInterrupt):
        driver_jvm.start(_NOTHING)
    assert waited.is_set()
    jvm = started[-1]
    jvm.stdin.close()
    assert jvm.wait(10) == -9
