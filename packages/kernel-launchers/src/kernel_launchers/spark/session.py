"""The Spark session of a Python kernel: made when a cell first names it, or beside the kernel's start."""

import ast
import builtins
import importlib
import logging
import os
import shlex
import sys
import threading
from typing import Any, Callable, Dict, Optional, Set

from kernel_launchers.jvm_process import JvmProcess
from kernel_launchers.spark import driver_jvm
from kernel_launchers.spark.context import waits_for_executors
from kernel_launchers.spark.executors import ExecutorWatch, causes_of_waiting
from kernel_launchers.spark.java_log import JavaLog
from kernel_launchers.spark.own import NOTICE_SECONDS, STARTING, SparkSessionFailed, own_submission
from kernel_launchers.spark.submit import Submission

__all__ = ["NAMES", "SparkSessions", "make_session", "names_of", "tell_spark"]

NAMES = frozenset({"spark", "sc", "sql", "sqlContext", "sqlCtx"})
"""What a cell names when it wants Spark."""

_BEGIN = "__begin_spark_session__"


def names_of(tree: ast.AST) -> "frozenset[str]":
    """Return those of Spark's names that code uses and doesn't bind itself before.

    A cell that makes a session of its own, as `spark = SparkSession.builder…`, wants no other one.
    """
    used: Set[str] = set()
    bound: Set[str] = set()
    for statement in getattr(tree, "body", []):
        nodes = list(ast.walk(statement))
        parameters = {node.arg for node in nodes if isinstance(node, ast.arg)}
        names = [node for node in nodes if isinstance(node, ast.Name) and node.id in NAMES]
        used |= {node.id for node in names if isinstance(node.ctx, ast.Load)} - bound - parameters
        bound |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
        bound |= {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
    return frozenset(used)


class SparkSessions:
    """Makes the kernel's session, once.

    Parameters
    ----------
    namespace
        Of the user's cells.
    make
        Makes a session.
    say
        Told of how it goes on.
    """

    def __init__(
        self,
        namespace: "Dict[str, Any]",
        *,
        make: Callable[[], Any],
        say: Callable[[str], object] = lambda text: sys.stderr.write(f"{text}\n"),
    ) -> None:
        self._namespace = namespace
        self._make = make
        self._say = say
        self._lock = threading.Lock()
        self._eager: Optional[threading.Thread] = None
        self._session: Any = None

    def begin_beside(self) -> None:
        """Make the session in the background; the first cell that names it waits for it."""
        self._eager = threading.Thread(target=self._begin_quietly, name="Spark session", daemon=True)
        self._eager.start()

    def _begin_quietly(self) -> None:
        try:
            self._begin()
        except SparkSessionFailed as error:
            # The first cell that wants it tries again and is told.
            logging.getLogger(__name__).warning("No Spark session yet: %s", error)

    def begin(self) -> None:
        """Return when there is a session.

        Raises
        ------
        SparkSessionFailed
            There can be none.
        """
        notice = threading.Timer(NOTICE_SECONDS, self._say, [STARTING])
        notice.start()
        try:
            if self._eager is not None:
                self._eager.join()
            self._begin()
        finally:
            notice.cancel()

    def _begin(self) -> None:
        with self._lock:
            if self._session is None or self._session.sparkContext is None:
                self._session = self._make()
            session = self._session
            context = session.sparkContext
            made = {"spark": session, "sc": context, "sql": session.sql, "sqlContext": session, "sqlCtx": session}
            for name, value in made.items():
                self._namespace.setdefault(name, value)

    # ------------------------------------------------------------------------------------------------------ in IPython

    def install(self, shell: Any, log: JavaLog) -> None:  # noqa: ANN401  IPython's
        """Have a shell make the session before the first cell that names it, and end Spark's jobs with a cell that ends."""
        self._namespace = shell.user_ns
        watch = ExecutorWatch(stalled=self._is_stalled, causes=lambda: causes_of_waiting(log), say=self._say)
        shell.events.register("pre_run_cell", lambda _info: watch.cell_begins())
        shell.events.register("post_run_cell", lambda _result: watch.cell_ended())
        # Not among the user's names, of which `%reset` leaves none.
        setattr(builtins, _BEGIN, self.begin)
        shell.ast_transformers.append(self)
        logging.getLogger().addFilter(_is_no_interrupt)
        shell.events.register("post_run_cell", self._cell_ended)
        try:
            tell_spark()
        except SparkSessionFailed as error:
            # The first cell that wants a session is told.
            logging.getLogger(__name__).warning("Spark can't be prepared: %s", error)

    def _is_stalled(self) -> bool:
        if self._lock.locked():
            return True
        context = _active_context() if "pyspark" in sys.modules else None
        return context is not None and waits_for_executors(context._jsc.sc())  # noqa: SLF001  Python's part tells less

    def visit(self, tree: ast.AST) -> ast.AST:
        """Return a cell that makes the session first, where it names one that isn't there."""
        wanted = names_of(tree) - set(self._namespace)
        if wanted and isinstance(tree, ast.Module):
            tree.body.insert(0, ast.parse(f"{_BEGIN}()").body[0])
        return tree

    def _cell_ended(self, result: Any) -> None:  # noqa: ANN401  IPython's
        if isinstance(getattr(result, "error_in_exec", None), KeyboardInterrupt) and "pyspark" in sys.modules:
            context = _active_context()
            if context is not None:
                cancel_jobs(context)


def _is_no_interrupt(record: logging.LogRecord) -> bool:
    # py4j logs every interrupt of a cell with its stack, which the cell shows already.
    return not record.getMessage().startswith("KeyboardInterrupt while sending command")


def _active_context() -> Any:  # noqa: ANN401  a SparkContext, whoever made it
    return importlib.import_module("pyspark").SparkContext._active_spark_context  # noqa: SLF001  nothing else tells


def cancel_jobs(context: Any) -> None:  # noqa: ANN401  a SparkContext
    """End all jobs of a session whose cell was interrupted in the middle of a call to Java."""
    client = context._gateway._gateway_client  # noqa: SLF001  there is no other way to this thread's connection
    # The answer to the call that was interrupted still comes by its connection; the next call must not read it.
    connection = client.get_thread_connection() if hasattr(client, "get_thread_connection") else None
    if connection is not None:
        connection.close()
    # By a thread of its own, which has a connection of its own.
    cancelling = threading.Thread(target=context.cancelAllJobs)
    cancelling.start()
    cancelling.join()


# --------------------------------------------------------------------------------------------------------------- making


def tell_spark() -> Submission:
    """Have every session of this process be one of this kernel, also one that the notebook makes by itself.

    Raises
    ------
    SparkSessionFailed
        An option can't be read.
    """
    told = own_submission()
    os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join(told.arguments)
    return told


def make_session(log: JavaLog) -> Any:  # noqa: ANN401  a SparkSession
    """Return a new Spark session of this kernel.

    Parameters
    ----------
    log
        Takes what Java logs.

    Raises
    ------
    SparkSessionFailed
        Spark can't be started.
    """
    told = tell_spark()
    java_gateway, pyspark = importlib.import_module("pyspark.java_gateway"), importlib.import_module("pyspark")
    session_class = importlib.import_module("pyspark.sql").SparkSession
    if _active_context() is not None:
        # The notebook made one of its own.
        return session_class.builder.getOrCreate()
    jvm, gateway, descriptor = None, None, log.open()
    try:
        try:
            jvm = driver_jvm.start(told, stderr=descriptor)
        finally:
            os.close(descriptor)
        gateway = _connected(java_gateway, jvm)
        return session_class(pyspark.SparkContext(gateway=gateway))
    except BaseException as error:  # an interrupt too must leave nothing behind
        words = _words(error)
        if gateway is not None:
            # Else the next try would speak with this one, and find its ports taken.
            gateway.shutdown()
            pyspark.SparkContext._gateway = pyspark.SparkContext._jvm = None  # noqa: SLF001  pyspark forgets it nowhere itself
        if jvm is not None:
            jvm.process.kill()
        if not isinstance(error, Exception):
            raise
        raise SparkSessionFailed(f"Spark can't be started: {log.cause() or words}") from error


def _connected(java_gateway: Any, jvm: JvmProcess) -> Any:  # noqa: ANN401  pyspark's
    """Return pyspark's connection to a JVM, as if pyspark had started it."""
    told = {"PYSPARK_GATEWAY_PORT": str(jvm.port), "PYSPARK_GATEWAY_SECRET": jvm.secret}
    os.environ.update(told)
    try:
        gateway = java_gateway.launch_gateway()
    finally:
        # A session that the notebook makes later isn't to look for this one.
        for name in told:
            del os.environ[name]
    gateway.proc = jvm.process
    return gateway


def _words(error: BaseException) -> str:
    """Return the first line of what went wrong, of Java's where it was in Java."""
    java = getattr(error, "java_exception", None)
    return str(java.toString() if java is not None else error).strip().split("\n", 1)[0]
