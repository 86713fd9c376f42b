"""What a kernel has in its JVM beside the interpreter: Scala of this package, compiled by the compiler that the image has."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import List, Sequence

from kernel_launchers.jvm_process import JvmFailed

__all__ = ["compile_into", "with_prelude"]

_SOURCE = Path(__file__).with_name("prelude.scala")
_PREFIX = "kernel-launchers-"
# By which a JVM tells whether kept classes are of this very jar; whole seconds, as layers of images have them.
_TIME = 1_700_000_000


def _name() -> str:
    return f"{_PREFIX}{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]}.jar"


def with_prelude(java: str, jars: Sequence[str]) -> List[str]:
    """Return a class path with the prelude at its beginning: the one that the image has, or one that is compiled now.

    Raises
    ------
    JvmFailed
        It can't be compiled.
    """
    others = _others(jars)
    own = [jar for jar in jars if Path(jar).name == _name()] or [compile_into(tempfile.mkdtemp(prefix="scala-"), java, others)]
    return [*own, *others]


def compile_into(folder: str, java: str, jars: Sequence[str]) -> str:
    """Compile the prelude and return its jar; those of other versions of this package are removed from the folder.

    Parameters
    ----------
    jars
        Scala's own, the compiler among them.

    Raises
    ------
    JvmFailed
        The compiler refuses it.
    """
    for jar in Path(folder).glob(f"{_PREFIX}*.jar"):
        jar.unlink()
    jar = Path(folder, _name())
    compiler = ["scala.tools.nsc.Main", "-usejavacp", "-d", str(jar), str(_SOURCE)]
    ended = subprocess.run(  # noqa: S603  nothing of a user's
        [java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", os.pathsep.join(_others(jars)), *compiler],
        capture_output=True,
        check=False,
    )
    if ended.returncode or not jar.is_file():
        words = (ended.stdout + ended.stderr).decode(errors="replace").strip()
        raise JvmFailed(f"what the kernel needs in its JVM can't be compiled by the image's Scala: {words}")
    os.utime(jar, (_TIME, _TIME))
    return str(jar)


def _others(jars: Sequence[str]) -> List[str]:
    return [jar for jar in jars if not Path(jar).name.startswith(_PREFIX)]
