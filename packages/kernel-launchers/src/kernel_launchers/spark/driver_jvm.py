"""Spark's JVM, in which the driver lives: started as spark-submit starts it, and ready for Python to speak with."""

import importlib.util
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from kernel_launchers.jvm_process import LIGHTLY_COMPILED, JvmFailed, JvmProcess, ignore_interrupts
from kernel_launchers.spark.java_words import last_exception
from kernel_launchers.spark.submit import Submission

__all__ = ["FIRST_CLASSES", "archive", "command", "jars", "logging_to", "start"]

FIRST_CLASSES = "spark.driver.extraClassPath"
"""The setting of what comes before Spark's own jars."""

_LAUNCHER = ("-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_LOGGING = Path(__file__).with_name("driver-log.properties")
# What the JVM has to say of itself, such as of kept classes that don't fit, is no output of a cell.
_QUIET = ("-Xlog:disable", "-Xlog:all=error:stderr")
_CONNECTION = "_PYSPARK_DRIVER_CONN_INFO_PATH"
_SECONDS = 60.0
_POLL_SECONDS = 0.02
_SMALL, _COLLECTOR = "-Xmx1g", "-XX:+UseSerialGC"
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
    """Return where the classes of a session are kept that has run before; an image may be without."""
    return _home() / "session.jsa"


def jars() -> List[str]:
    """Return Spark's jars.

    Raises
    ------
    JvmFailed
        There is no Spark.
    """
    return sorted(str(jar) for jar in (_home() / "jars").glob("*.jar"))


def logging_to(descriptor: int) -> List[str]:
    """Return options by which Spark logs to a descriptor of the JVM's, and not to where cells write."""
    return [f"-Dlog4j2.configurationFile={_LOGGING}", f"-Dkernel.log=/proc/self/fd/{descriptor}"]


def command(submission: Submission, *options: str, jars_only: bool = False) -> List[str]:
    """Return the JVM's command: Spark's own, as its launcher makes it of the settings, and some options before.

    Parameters
    ----------
    jars_only
        Whether to leave folders out of the class path.

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
    classpath = words[place + 1]
    # Whoever puts classes before Spark's means that order.
    if FIRST_CLASSES not in submission.settings:
        jars, folders = _in_order(classpath)
        classpath = os.pathsep.join(jars if jars_only else [*jars, *folders])
    return [*words[:place], *options, "-cp", classpath, *words[place + 2 :]]


def _in_order(classpath: str) -> Tuple[List[str], List[str]]:
    """Return a class path's jars, named one by one, and its folders, which come behind them.

    Kept classes fit only the same jars in the same order, with nothing before one of them.
    """
    jars: List[str] = []
    folders: List[str] = []
    for place in classpath.split(os.pathsep):
        folder, name = os.path.split(place)
        if name == "*":
            jars += [jar for jar in sorted(str(path) for path in Path(folder).glob("*.jar")) if jar not in jars]
        else:
            (jars if name.endswith(".jar") else folders).append(place)
    return jars, folders


def start(
    submission: Submission,
    *,
    options: Sequence[str] = (),
    stdout: Optional[int] = None,
    stderr: Optional[int] = None,
    keep: Sequence[int] = (),
    keep_classes: bool = False,
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
    keep_classes
        Whether to write down, at its end, the classes that it has loaded by then.

    Raises
    ------
    JvmFailed
        It ends at once; what it has written says why.
    """
    kept = archive()
    if keep_classes:
        words = command(submission, f"-XX:ArchiveClassesAtExit={kept}", jars_only=True)
    else:
        # Those that don't fit any more are left aside by the JVM without a word.
        classes = [f"-XX:SharedArchiveFile={kept}"] if kept.is_file() else []
        words = _with_collector(command(submission, *_QUIET, *LIGHTLY_COMPILED, *classes, *options))
    with tempfile.TemporaryDirectory(prefix="spark-connection-") as folder:
        connection = Path(folder, "connection")
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
        try:
            port, secret = _connection(process, connection)
        except BaseException:
            # An interrupt too leaves no JVM behind that nobody knows of, and no open end of its pipes.
            with process:
                process.kill()
            raise
    return JvmProcess(process, port, secret)


def _with_collector(words: List[str]) -> List[str]:
    """Return a JVM's command with the collector that a small heap is well served by, unless somebody chose another.

    The usual one begins with threads and tables of its own, for every processor of the node.
    """
    told = [*words, os.environ.get("JDK_JAVA_OPTIONS", ""), os.environ.get("JAVA_TOOL_OPTIONS", "")]
    chosen = any(re.search(r"-XX:\+Use\w*GC\b", each) for each in told)
    return words if chosen or _SMALL not in words else [words[0], _COLLECTOR, *words[1:]]


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
            raise JvmFailed(f"the Java virtual machine didn't answer within {_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    data = path.read_bytes()
    (port,), (length,) = _NUMBER.unpack_from(data), _NUMBER.unpack_from(data, _NUMBER.size)
    start_of_secret = 2 * _NUMBER.size
    return port, data[start_of_secret : start_of_secret + length].decode()
