"""The Spark session of an R kernel, which speaks with Spark by Python in its own process (reticulate).

Only the thread that R runs in may call R, and others of Python run only while that one waits in Python: so what waits for
Java waits here, in turns, and Java writes into files.
"""

import ctypes
import importlib
import logging
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, List, Optional, Set

from kernel_launchers.jvm_process import JvmProcess
from kernel_launchers.spark import driver_jvm
from kernel_launchers.spark.executors import causes_of_waiting
from kernel_launchers.spark.java_words import last_exception
from kernel_launchers.spark.own import NOTICE_SECONDS, STARTING
from kernel_launchers.spark.pyspark_session import active_context, cancel_jobs, make_session, quiet_interrupts
from kernel_launchers.spark.r_columns import Column, columns
from kernel_launchers.spark.r_numbers import return_numbers_as_r_has_them
from kernel_launchers.spark.submit import Submission

__all__ = ["RSessions", "collect", "prepare"]

_TURN_SECONDS = 0.1
_LOOK_SECONDS = 5.0


class _Output:
    """A stream of Python whose text R shows."""

    encoding = "utf-8"

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._thread = threading.get_ident()
        self._kept: List[str] = []

    def write(self, text: str) -> int:
        """Have R show a text; of another thread's, with the next one of R's own."""
        self._kept.append(text)
        if threading.get_ident() == self._thread:
            kept, self._kept = self._kept, []
            self._write("".join(kept))
        return len(text)

    def flush(self) -> None:
        """Do nothing: what may be shown was shown."""

    def isatty(self) -> bool:
        """Tell that it is no terminal."""
        return False


def prepare(write: Callable[[str], object]) -> None:
    """Have R show what Python prints, and an interrupt of a cell end its jobs."""
    sys.stdout = sys.stderr = _Output(write)
    quiet_interrupts()
    _take_interrupts()


def _take_interrupts() -> None:
    # R's signal handler stays where it is: in its place, one of Python's own would keep interrupts from R. It has Python ask
    # whether there is an interrupt that R hasn't taken, and then say that Python takes it. reticulate asks by calling R, which
    # fails whenever R takes the interrupt in that very call; the flag itself can be read.
    try:
        pending = ctypes.c_int.in_dll(ctypes.CDLL(None), "R_interrupts_pending")
        signals: Any = importlib.import_module("rpytools.signals")
    except (ValueError, ImportError) as error:
        # Another R or reticulate than the image's: a cell is interrupted as these have it, and its jobs go on.
        logging.getLogger(__name__).warning("An interrupt won't end Spark's jobs: %s", error)
        return

    def asked(taken: bool) -> bool:  # noqa: FBT001  reticulate's signature
        was_pending = bool(pending.value)
        if taken:
            pending.value = 0
            context = active_context()
            if context is not None:
                # At once: when R goes on, no other thread of Python runs.
                cancel_jobs(context)
        return was_pending

    signals._callback = asked  # noqa: SLF001  it has no other place to hear of interrupts


class RSessions:
    """Makes the kernel's session, once."""

    def __init__(self) -> None:
        self._session: Any = None
        self._thread: Optional[threading.Thread] = None
        self._error: Optional[BaseException] = None
        self._numbers_are_rs = False

    def session(self) -> Any:  # noqa: ANN401  a SparkSession
        """Return the session, made where there is none.

        Raises
        ------
        SparkSessionFailed
            There can be none.
        """
        if self._session is None or self._session.sparkContext._jsc is None:  # noqa: SLF001  it was stopped
            self._session = None
            # One that was begun goes on although its cell was interrupted.
            if self._thread is None:
                self._error = None
                self._thread = threading.Thread(target=self._make, name="Spark session", daemon=True)
                self._thread.start()
            self._wait(self._thread)
        return self._session

    def _make(self) -> None:
        with tempfile.NamedTemporaryFile(prefix="spark-java-", suffix=".log") as said:
            try:
                if not self._numbers_are_rs:
                    return_numbers_as_r_has_them()
                    self._numbers_are_rs = True
                self._session = make_session(
                    lambda told: _start(told, said.fileno()),
                    lambda: last_exception(Path(said.name).read_text(encoding="utf-8", errors="replace").splitlines()),
                )
            except BaseException as error:  # told to the cell
                self._error = error

    def _wait(self, making: threading.Thread) -> None:
        began = looked = time.monotonic()
        said: Set[str] = set()
        while making.is_alive():
            making.join(_TURN_SECONDS)
            now = time.monotonic()
            if STARTING not in said and now - began > NOTICE_SECONDS:
                said.add(STARTING)
                sys.stderr.write(f"{STARTING}\n")
            if now - looked > _LOOK_SECONDS:
                looked = now
                _say_causes(said)
        self._thread = None
        if self._error is not None:
            raise self._error


def _start(told: Submission, said: int) -> JvmProcess:
    # Where R's own process writes what isn't a cell's, which is the pod's log.
    return driver_jvm.start(told, options=driver_jvm.logging_to(1), stderr=said)


def _say_causes(said: "Set[str]") -> None:
    try:
        causes = causes_of_waiting()
    except OSError as error:
        causes = [f"Kubernetes can't be asked why: {error}"]
    for cause in causes:
        if cause not in said:
            said.add(cause)
            sys.stderr.write(f"Spark has no executor yet: {cause}\n")


def collect(frame: Any) -> List[Column]:  # noqa: ANN401  a DataFrame
    """Return the rows of a data frame of Spark's, column by column."""
    types = [spark_type for _, spark_type in frame.dtypes]
    return columns(frame.columns, types, frame.collect())
