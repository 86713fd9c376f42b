"""The JVM of a Scala kernel without Spark: Scala's own jars, and the classes of a session that has run before."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import List

from kernel_launchers.jvm_process import LIGHTLY_COMPILED, JvmFailed, JvmProcess, ignore_interrupts
from kernel_launchers.scala.jvm import descriptor, py4j
from kernel_launchers.scala.prelude import with_prelude

__all__ = ["archive", "jars", "java", "libraries", "start"]

_OPTIONS = (
    # A notebook has the pod's memory for itself, and rarely more than one processor.
    "-XX:MaxRAMPercentage=70",
    "-XX:+UseSerialGC",
    *LIGHTLY_COMPILED,
    "-XX:+PerfDisableSharedMem",
    "-Dfile.encoding=UTF-8",
    "-Dsun.stdout.encoding=UTF-8",
    "-Dsun.stderr.encoding=UTF-8",
    "-Djava.awt.headless=true",
)
_LIBRARIES = "/opt/scala/lib"
_READ_BYTES = 65536


def libraries() -> Path:
    """Return the folder of Scala's jars, and of whatever else the image has: SCALA_JARS names it."""
    return Path(os.environ.get("SCALA_JARS") or _LIBRARIES)


def archive() -> Path:
    """Return where the classes of a session are kept that has run before; an image may be without."""
    return libraries() / "session.jsa"


def java() -> str:
    """Return the program.

    Raises
    ------
    JvmFailed
        The image has none.
    """
    found = shutil.which("java")
    if found is None:
        raise JvmFailed("the kernel is one of Scala, and its image has no Java")
    return found


def jars() -> List[str]:
    """Return the jars of the image, Scala's among them, and py4j's.

    Raises
    ------
    JvmFailed
        The image has no Scala.
    """
    folder = libraries()
    found = sorted(str(path) for path in folder.glob("*.jar"))
    if not any(Path(jar).name.startswith("scala-compiler") for jar in found):
        raise JvmFailed(
            f"the kernel is one of Scala, and there is no Scala compiler in {folder} (SCALA_JARS names another folder)"
        )
    return [*found, str(py4j().find_jar_path())]


def start(*, keep_classes: bool = False) -> JvmProcess:
    """Start a JVM and return when it answers.

    Parameters
    ----------
    keep_classes
        Whether to write down, at its end, the classes that it has loaded by then.

    Raises
    ------
    JvmFailed
        It doesn't.
    """
    program = java()
    # One that doesn't fit any more is left aside by the JVM without a word.
    classes = f"-XX:{'ArchiveClassesAtExit' if keep_classes else 'SharedArchiveFile'}={archive()}"
    process = subprocess.Popen(  # noqa: S603  nothing of a user's
        [
            program,
            *_OPTIONS,
            *([classes] if keep_classes or archive().is_file() else []),
            "-cp",
            os.pathsep.join(with_prelude(program, jars())),
            "py4j.GatewayServer",
            "--die-on-broken-pipe",
            "--enable-auth",
            "0",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        preexec_fn=ignore_interrupts,  # noqa: PLW1509  before the first thread that could hold a lock
    )
    port, secret = _line(process), _line(process)
    if not port.isdigit():
        raise JvmFailed(f"the Java virtual machine didn't start: {port}")
    return JvmProcess(process, int(port), secret)


def _line(process: "subprocess.Popen[bytes]") -> str:
    line = b""
    while not line.endswith(b"\n"):
        read = os.read(descriptor(process.stdout), 1)
        if not read:
            words = os.read(descriptor(process.stderr), _READ_BYTES).decode(errors="replace")
            raise JvmFailed(f"the Java virtual machine ended with status {process.wait()}: {words.strip()}")
        line += read
    return line.decode().strip()
