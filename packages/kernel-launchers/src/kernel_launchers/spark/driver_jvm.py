"""Spark's JVM, in which the driver lives: started as spark-submit starts it, and ready for Python to speak with."""

import importlib.util
import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from kernel_launchers.jvm_process import JvmFailed, JvmProcess, ignore_interrupts
from kernel_launchers.spark.java_words import last_exception
from kernel_launchers.spark.submit import Submission

__all__ = ["archive", "command", "start"]

_LAUNCHER = ("-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_CONNECTION = "_PYSPARK_DRIVER_CONN_INFO_PATH"
_SECONDS = 60.0
_POLL_SECONDS = 0.02
_NUMBER = struct.Struct(">i")


def _home() -> Path:
    """Return Spark's folder: the one that the image names, or that of pyspark.

    Raises
    ------
    JvmFailed
        There is none.
    """
    named = os.environ.get("SPARK_HOME")
    found = importlib.util.find_spec("pyspark")
    if not named and (found is None or not found.submodule_search_locations):
        raise JvmFailed("Spark isn't installed in the kernel's image")
    return Path(named or found.submodule_search_locations[0])  # type: ignore[index,union-attr]  # seen above


def archive() -> Path:
    """Return where the classes of a driver are kept that has run before; an image may be without."""
    return _home() / "driver.jsa"


def command(submission: Submission, *options: str) -> List[str]:
    """Return the JVM's command: Spark's own, as its launcher makes it of the settings, and some options before.

    Raises
    ------
    JvmFailed
        There is no Java, no Spark, or its launcher refuses the settings.
    """
    java, home = shutil.which("java"), _home()
    if java is None:
        raise JvmFailed("Java isn't installed in the kernel's image")
    launcher = next(iter((home / "jars").glob("spark-launcher_*.jar")), None)
    if launcher is None:
        raise JvmFailed(f"Spark's launcher isn't among the jars of {home}")
    asked = subprocess.run(  # noqa: S603  a list: what is a user's in it is an argument
        [
            java,
            *_LAUNCHER,
            "-cp",
            str(launcher),
            "org.apache.spark.launcher.Main",
            "org.apache.spark.deploy.SparkSubmit",
            *submission.arguments,
        ],
        capture_output=True,
        # It doesn't know by itself which Scala Spark was built with, which its jars say.
        env={**os.environ, "SPARK_HOME": str(home), "SPARK_SCALA_VERSION": launcher.stem.split("_")[1].split("-")[0]},
        check=False,
    )
    refused = [line for line in asked.stderr.decode(errors="replace").splitlines() if line.startswith(("Error: ", "Exception "))]
    # A mark for the script that spark-submit is, then the words.
    words = [word.decode() for word in asked.stdout.partition(b"\0\n")[2].split(b"\0")][:-1]
    if refused or "-cp" not in words:
        raise JvmFailed(refused[0] if refused else f"Spark's launcher ended with status {asked.returncode}")
    place = words.index("-cp")
    return [*words[:place], *options, "-cp", _in_order(words[place + 1]), *words[place + 2 :]]


def _in_order(classpath: str) -> str:
    """Return a class path with its jars named one by one: kept classes fit only what has the same ones in the same order."""
    found: List[str] = []
    for place in classpath.split(os.pathsep):
        folder = Path(place)
        jars = sorted(str(jar) for jar in folder.parent.glob("*.jar")) if folder.name == "*" else [place]
        found += [jar for jar in jars if jar not in found]
    return os.pathsep.join(found)


def start(
    submission: Submission,
    *,
    options: Sequence[str] = (),
    stdout: Optional[int] = None,
    stderr: Optional[int] = None,
    keep: Sequence[int] = (),
) -> JvmProcess:
    """Start a JVM and return when it answers.

    Parameters
    ----------
    options
        Of the JVM.
    stdout, stderr
        Where it writes, as `subprocess` has it.
    keep
        Descriptors that it inherits.

    Raises
    ------
    JvmFailed
        It ends at once; what it has written says why.
    """
    kept = archive()
    classes = [f"-XX:SharedArchiveFile={kept}"] if kept.is_file() and not any("Archive" in option for option in options) else []
    words = command(submission, *classes, *options)
    folder = tempfile.mkdtemp(prefix="spark-connection-")
    connection = Path(folder, "connection")
    try:
        process = subprocess.Popen(  # noqa: S603  as above
            words,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            bufsize=0,
            env={**os.environ, "SPARK_HOME": str(_home()), _CONNECTION: str(connection)},
            pass_fds=tuple(keep),
            preexec_fn=ignore_interrupts,  # noqa: PLW1509  it holds no lock
        )
        port, secret = _connection(process, connection)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return JvmProcess(process, port, secret)


def _connection(process: "subprocess.Popen[bytes]", path: Path) -> Tuple[int, str]:
    """Return the port and the secret that a JVM writes down when it answers."""
    until = time.monotonic() + _SECONDS
    # Spark writes another file and renames it.
    while not path.is_file():
        if process.poll() is not None:
            said = process.stderr.read().decode(errors="replace") if process.stderr is not None else ""
            raise JvmFailed(
                last_exception(said.splitlines()) or f"the Java virtual machine ended with status {process.returncode}"
            )
        if time.monotonic() > until:
            process.kill()
            raise JvmFailed(f"the Java virtual machine didn't answer within {_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    data = path.read_bytes()
    (port,), (length,) = _NUMBER.unpack_from(data), _NUMBER.unpack_from(data, _NUMBER.size)
    start_of_secret = 2 * _NUMBER.size
    return port, data[start_of_secret : start_of_secret + length].decode()
