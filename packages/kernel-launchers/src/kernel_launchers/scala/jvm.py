"""The JVM beside a Scala kernel: how it is started, and who reads what it writes."""

import importlib
import logging
import os
import secrets
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence

from kernel_launchers.scala.output import OutputParser

__all__ = ["Jvm", "JvmFailed", "archive", "classpath"]

_READ_BYTES = 65536
_OPTIONS = (
    # A notebook has the pod's memory for itself, and rarely more than one processor.
    "-XX:MaxRAMPercentage=70",
    "-XX:+UseSerialGC",
    # What a start runs once is compiled lightly: with the defaults the second compiler takes a quarter of the time until the
    # first result. Loops of users get there all the same.
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:+PerfDisableSharedMem",
    "-Dfile.encoding=UTF-8",
    "-Dsun.stdout.encoding=UTF-8",
    "-Dsun.stderr.encoding=UTF-8",
    "-Djava.awt.headless=true",
)
_LIBRARIES = "/opt/scala/lib"


class JvmFailed(Exception):
    """There is no JVM, or not any more; the text says why."""


def _libraries() -> Path:
    return Path(os.environ.get("SCALA_JARS") or _LIBRARIES)


def archive() -> Path:
    """Return where the classes of a session are kept that has run before; an image may be without."""
    return _libraries() / "session.jsa"


def classpath() -> List[str]:
    """Return the jars of Scala, of py4j, and whatever else the image has: SCALA_JARS names the folder.

    Raises
    ------
    JvmFailed
        The image has no Scala.
    """
    folder = _libraries()
    jars = sorted(str(path) for path in folder.glob("*.jar"))
    if not any(Path(jar).name.startswith("scala-compiler") for jar in jars):
        raise JvmFailed(
            f"the kernel is one of Scala, and there is no Scala compiler in {folder} (SCALA_JARS names another folder)"
        )
    return [*jars, str(_py4j().find_jar_path())]


def _py4j() -> Any:  # noqa: ANN401  a module
    """Return the library by which Python and Java speak; only an image with Scala has it.

    Raises
    ------
    JvmFailed
        The image has no py4j.
    """
    try:
        return importlib.import_module("py4j.java_gateway")
    except ImportError as error:
        raise JvmFailed("the kernel is one of Scala, and its image has no py4j (pip install kernel-launchers[scala])") from error


def _ignore_interrupts() -> None:
    # A JVM ends by SIGINT, unless it was started with it ignored. Who interrupts the kernel's group means the cell.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Jvm:
    """One JVM, spoken with by py4j.

    Parameters
    ----------
    jars
        Its class path.
    text
        Told what it writes: the stream's name, and the text.
    frame
        Told of frames on standard output.
    keep_classes
        Whether to write down, at its end, the classes that it has loaded by then.
    """

    def __init__(
        self,
        jars: Sequence[str],
        *,
        text: Callable[[str, str], None],
        frame: "Callable[[str, List[bytes]], None]",
        keep_classes: bool = False,
    ) -> None:
        """Start it, and return when it answers.

        Raises
        ------
        JvmFailed
            It doesn't.
        """
        java_gateway = _py4j()
        # What it logs of a JVM that ends helps nobody.
        logging.getLogger("py4j").setLevel(logging.CRITICAL)
        self.token = secrets.token_hex(16)
        self._text = text
        self._frame = frame
        self._ended = {name: threading.Event() for name in ("stdout", "stderr")}
        java = shutil.which("java")
        if java is None:
            raise JvmFailed("the kernel is one of Scala, and its image has no Java")
        # One that doesn't fit any more is left aside by the JVM without a word.
        classes = f"-XX:{'ArchiveClassesAtExit' if keep_classes else 'SharedArchiveFile'}={archive()}"
        command = [
            java,
            *_OPTIONS,
            *([classes] if keep_classes or archive().is_file() else []),
            "-cp",
            os.pathsep.join(jars),
            "py4j.GatewayServer",
        ]
        self._process = subprocess.Popen(  # noqa: S603  nothing of a user's
            # It ends with this process, whose end of the pipe it reads.
            [*command, "--die-on-broken-pipe", "--enable-auth", "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            preexec_fn=_ignore_interrupts,  # noqa: PLW1509  before the first thread that could hold a lock
        )
        port, secret = self._line(), self._line()
        if not port.isdigit():
            raise JvmFailed(f"the Java virtual machine didn't start: {port}")
        parameters = java_gateway.GatewayParameters(port=int(port), auth_token=secret, auto_convert=True, auto_field=True)
        self._gateway = java_gateway.JavaGateway(gateway_parameters=parameters)
        for name in self._ended:
            threading.Thread(target=self._read, args=(name,), daemon=True, name=f"JVM {name}").start()

    def _line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            read = os.read(_descriptor(self._process.stdout), 1)
            if not read:
                words = os.read(_descriptor(self._process.stderr), _READ_BYTES).decode(errors="replace")
                raise JvmFailed(f"the Java virtual machine ended with status {self._process.wait()}: {words.strip()}")
            line += read
        return line.decode().strip()

    @property
    def classes(self) -> Any:  # noqa: ANN401  whatever Java has
        """Java's packages and classes."""
        return self._gateway.jvm

    def _read(self, name: str) -> None:
        parser = OutputParser(
            token=self.token,
            text=lambda text: self._text(name, text),
            frame=lambda kind, parts: self._end(name) if kind == "end" else self._frame(kind, parts),
        )
        descriptor = _descriptor(self._process.stdout if name == "stdout" else self._process.stderr)
        while True:
            data = os.read(descriptor, _READ_BYTES)
            if not data:
                break
            parser.feed(data)
        self._end(name)

    def _end(self, name: str) -> None:
        self._ended[name].set()

    def expect_end(self) -> None:
        """Begin to wait for the end of a cell's output."""
        for event in self._ended.values():
            event.clear()

    def wait_for_end(self, seconds: float) -> None:
        """Return when all that a cell has printed was told, or the time is over."""
        for event in self._ended.values():
            event.wait(seconds)

    @property
    def status(self) -> Optional[int]:
        """How it ended; `None` while it runs."""
        return self._process.poll()

    def has_ended(self, *, within: float = 1.0) -> bool:
        """Tell whether it has ended, or does within some seconds: its connections break before it is gone."""
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> None:
        """Have it end as it likes to."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def close(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()


def _descriptor(pipe: Any) -> int:  # noqa: ANN401  typeshed has it optional
    return int(pipe.fileno())
