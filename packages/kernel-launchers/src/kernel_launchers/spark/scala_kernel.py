"""A Scala kernel that is Spark's driver: its cells run in Spark's own JVM."""

import logging
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, Optional

from kernel_launchers import pod_log
from kernel_launchers.jvm_process import JvmFailed, JvmProcess
from kernel_launchers.scala.interpreter import Interpreter, Outcome
from kernel_launchers.scala.jvm import Jvm
from kernel_launchers.scala.kernel import ScalaKernel
from kernel_launchers.scala.own_jvm import java
from kernel_launchers.scala.prelude import with_prelude
from kernel_launchers.spark import driver_jvm
from kernel_launchers.spark.context import waits_for_executors
from kernel_launchers.spark.executors import ExecutorWatch, causes_of_waiting
from kernel_launchers.spark.java_log import JavaLog
from kernel_launchers.spark.own import NOTICE_SECONDS, STARTING, SparkSessionFailed, own_submission
from kernel_launchers.spark.scala_names import wants_session
from kernel_launchers.spark.submit import Submission

__all__ = ["SparkScalaKernel"]

_SESSION = Path(__file__).with_name("session.scala")
_FAILED = SparkSessionFailed.__name__


def _with_prelude(told: Submission) -> Submission:
    """Return what Spark is told, with what the kernel needs in its JVM where that isn't among the jars of the image."""
    jars = driver_jvm.jars()
    prelude = with_prelude(java(), jars)[0]
    if prelude in jars:
        return told
    places = [prelude, told.settings.get(driver_jvm.FIRST_CLASSES, "")]
    return told._replace(settings={**told.settings, driver_jvm.FIRST_CLASSES: os.pathsep.join(filter(None, places))})


class SparkScalaKernel(ScalaKernel):
    """Scala for Jupyter, with a Spark session that is made when a cell first names it."""

    implementation = "kernel-launchers-spark-scala"
    banner = "Scala with Spark"

    def __init__(self, **traits: Any) -> None:  # noqa: ANN401  the base class' traits
        self._log = JavaLog(pod_log.descriptor())
        # Executors fetch the classes of cells out of it.
        self._classes = tempfile.mkdtemp(prefix="scala-classes-")
        self._makes_sessions = False
        self._making = False
        self._java: Optional[Jvm] = None
        self._watch = ExecutorWatch(stalled=self._is_stalled, causes=lambda: causes_of_waiting(self._log.so_far), say=self._say)
        super().__init__(**traits)

    def start_jvm(self) -> JvmProcess:
        """Start Spark's JVM as spark-submit does, and have it log where cells don't see it."""
        try:
            told = _with_prelude(own_submission({"spark.repl.class.outputDir": self._classes}))
        except SparkSessionFailed as error:
            raise JvmFailed(str(error)) from None
        log = self._log.open()
        try:
            return driver_jvm.start(
                told,
                options=driver_jvm.logging_to(log),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                keep=[log],
            )
        finally:
            os.close(log)

    def make_interpreter(self, jvm: Jvm) -> Interpreter:
        """Return an interpreter whose classes executors find, and which knows the jars that Spark was told of."""
        self._java = jvm
        interpreter = Interpreter(jvm, folder=self._classes, interrupting=self._cancel_jobs)
        jars = str(jvm.classes.java.lang.System.getProperty("spark.jars", ""))
        interpreter.add_jars([jar[len("file:") :] if jar.startswith("file:") else jar for jar in jars.split(",") if jar])
        return interpreter

    def begin_sessions(self, *, eager: bool) -> None:
        """Make a session when a cell names one, or beside the start."""
        self._makes_sessions = True
        if eager:
            # Before any cell: they wait in the same queue.
            self._pool.submit(self._begin_quietly)

    def run_cell(self, interpreter: Interpreter, code: str) -> Outcome:
        """Run a cell, and make the session before it where it names one that isn't there."""
        self._watch.cell_begins()
        try:
            if self._makes_sessions and wants_session(code) and self._context() is None:
                failure = self._begin(interpreter)
                if failure is not None:
                    return failure
            return interpreter.run(code)
        finally:
            self._watch.cell_ended()

    def _begin_quietly(self) -> None:
        try:
            failure = self._begin(self._starting.result())
        except JvmFailed:
            return  # every cell is told
        if failure is not None:
            logging.getLogger(__name__).warning("No Spark session yet: %s", failure.error_words)

    def _begin(self, interpreter: Interpreter) -> Optional[Outcome]:
        """Make a session; return what to tell the cell where there can be none."""
        notice = threading.Timer(NOTICE_SECONDS, self._say, [STARTING])
        notice.start()
        self._making = True
        try:
            made = interpreter.run_quietly(_SESSION.read_text(encoding="utf-8"))
        finally:
            self._making = False
            notice.cancel()
        if made.ok:
            return None
        words = f"Spark can't be started: {self._log.so_far() or f'{made.error_name}: {made.error_words}'}"
        return Outcome(False, f"{_FAILED}: {words}", _FAILED, words)

    def _context(self) -> Any:  # noqa: ANN401  an object of the JVM, or nothing
        if self._java is None:
            return None
        # Spark's own, of which its classes for Java show nothing.
        companion = getattr(self._java.classes.org.apache.spark, "SparkContext$")
        active = getattr(companion, "MODULE$").getActive()
        return active.get() if active.isDefined() else None

    def _cancel_jobs(self) -> None:
        context = self._context()
        if context is not None:
            context.cancelAllJobs()

    def _is_stalled(self) -> bool:
        if self._making:
            return True
        context = self._context()
        return context is not None and waits_for_executors(context)

    def _say(self, text: str) -> None:
        self._publish("stream", {"name": "stderr", "text": f"{text}\n"})
