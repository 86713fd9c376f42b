"""The JVM beside a Scala kernel: how it is spoken with, and who reads what it writes."""

import importlib
import logging
import os
import secrets
import subprocess
import threading
from typing import Any, Callable, List, Optional

from kernel_launchers.jvm_process import JvmFailed, JvmProcess
from kernel_launchers.scala.output import OutputParser

__all__ = ["Jvm", "descriptor", "py4j"]

_READ_BYTES = 65536


def py4j() -> Any:  # noqa: ANN401  a module
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


class Jvm:
    """One JVM, spoken with by py4j.

    Parameters
    ----------
    program
        What was started, its output not read yet.
    text
        Told what it writes: the stream's name, and the text.
    frame
        Told of frames on standard output.
    """

    def __init__(
        self, program: JvmProcess, *, text: Callable[[str, str], None], frame: "Callable[[str, List[bytes]], None]"
    ) -> None:
        java_gateway = py4j()
        # What it logs of a JVM that ends helps nobody.
        logging.getLogger("py4j").setLevel(logging.CRITICAL)
        self.token = secrets.token_hex(16)
        self._text = text
        self._frame = frame
        self._ended = {name: threading.Event() for name in ("stdout", "stderr")}
        self._process = program.process
        parameters = java_gateway.GatewayParameters(
            port=program.port, auth_token=program.secret, auto_convert=True, auto_field=True
        )
        self._gateway = java_gateway.JavaGateway(gateway_parameters=parameters)
        for name in self._ended:
            threading.Thread(target=self._read, args=(name,), daemon=True, name=f"JVM {name}").start()

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
        reading = descriptor(self._process.stdout if name == "stdout" else self._process.stderr)
        while True:
            data = os.read(reading, _READ_BYTES)
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


def descriptor(pipe: Any) -> int:  # noqa: ANN401  typeshed has it optional
    """Return the number of a pipe's end."""
    return int(pipe.fileno())
