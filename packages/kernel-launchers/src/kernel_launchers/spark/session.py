"""The Spark session of a Python kernel: made when a cell first names it, or beside the kernel's start."""

import ast
import builtins
import importlib
import json
import logging
import os
import re
import shlex
import socket
import sys
import tempfile
import threading
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Set

from kernel_launchers.errors import InvalidOptions
from kernel_launchers.spark.submit import Driver, executor_template, submit_arguments

__all__ = ["NAMES", "JavaLog", "SparkSessionFailed", "SparkSessions", "make_session", "names_of"]

NAMES = frozenset({"spark", "sc", "sql", "sqlContext", "sqlCtx"})
"""What a cell names when it wants Spark."""

_BEGIN = "__begin_spark_session__"
_NOTICE_SECONDS = 3.0
_LINES = 200
_LAST_SECONDS = 2.0
_THREAD = re.compile(r'^Exception in thread "[^"]*" ')
_THROWN = re.compile(r"[\w.$]+(?:Exception|Error)\b")
_SECRETS = "/var/run/secrets/kubernetes.io/serviceaccount"


class SparkSessionFailed(Exception):
    """There is no session; the text says why."""

    def _render_traceback_(self) -> List[str]:
        # Its stack is this module's, in which no user finds anything.
        return [f"{type(self).__name__}: {self}"]


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
        notice = threading.Timer(_NOTICE_SECONDS, self._say, ["The Spark session is being started …"])
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

    def install(self, shell: Any) -> None:  # noqa: ANN401  IPython's
        """Have a shell make the session before the first cell that names it, and end Spark's jobs with a cell that ends."""
        self._namespace = shell.user_ns
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


class JavaLog:
    """Takes what Spark's JVM writes to where the pod's log is, and remembers the end of it.

    Parameters
    ----------
    log
        The descriptor of the pod's log: a notebook's cells aren't the place for it.
    """

    def __init__(self, log: int) -> None:
        self._log = log
        self._tail: Deque[str] = deque(maxlen=_LINES)
        self._reading, self.descriptor = os.pipe()
        self._thread = threading.Thread(target=self._copy, name="Spark log", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        with os.fdopen(self._reading, errors="replace") as lines:
            for line in lines:
                self._tail.append(line.rstrip())
                os.write(self._log, line.encode())

    def close(self) -> None:
        """Leave the writing to Java: with its end ends the reading."""
        os.close(self.descriptor)

    def cause(self) -> str:
        """Return the first line of the last exception, where one was written, once Java has ended."""
        self._thread.join(_LAST_SECONDS)
        lines = list(self._tail)
        found = next((line for line in reversed(lines) if _THROWN.search(line) and not line.startswith("\tat")), "")
        return _THREAD.sub("", found)


def tell_spark() -> None:
    """Have every session of this process be one of this kernel, also one that the notebook makes by itself.

    Raises
    ------
    SparkSessionFailed
        An option can't be read.
    """
    environment = dict(os.environ)
    try:
        os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join(submit_arguments(_driver(environment), environment))
    except InvalidOptions as error:
        raise SparkSessionFailed(str(error)) from None


def make_session(log: int) -> Any:  # noqa: ANN401  a SparkSession
    """Return a new Spark session of this kernel.

    Parameters
    ----------
    log
        The descriptor of the pod's log.

    Raises
    ------
    SparkSessionFailed
        Spark can't be started.
    """
    tell_spark()
    java_gateway, pyspark = importlib.import_module("pyspark.java_gateway"), importlib.import_module("pyspark")
    session_class = importlib.import_module("pyspark.sql").SparkSession
    if _active_context() is not None:
        # The notebook made one of its own.
        return session_class.builder.getOrCreate()
    java_log, gateway = JavaLog(log), None
    try:
        try:
            gateway = java_gateway.launch_gateway(popen_kwargs={"stderr": java_log.descriptor})
        finally:
            java_log.close()
        return session_class(pyspark.SparkContext(gateway=gateway))
    except BaseException as error:  # an interrupt too must leave nothing behind
        words = _words(error)
        if gateway is not None:
            # Else the next try would speak with this one, and find its ports taken.
            gateway.shutdown()
            gateway.proc.kill()
            pyspark.SparkContext._gateway = pyspark.SparkContext._jvm = None  # noqa: SLF001  pyspark forgets it nowhere itself
        if not isinstance(error, Exception):
            raise
        raise SparkSessionFailed(f"Spark can't be started: {java_log.cause() or words}") from error


def _words(error: BaseException) -> str:
    """Return the first line of what went wrong, of Java's where it was in Java."""
    java = getattr(error, "java_exception", None)
    return str(java.toString() if java is not None else error).strip().split("\n", 1)[0]


def _driver(environment: "Dict[str, str]") -> Driver:
    template = os.path.join(tempfile.mkdtemp(prefix="spark-"), "executor-pod.json")  # noqa: PTH118  a text, as Spark takes it
    with open(template, "w", encoding="utf-8") as file:  # noqa: PTH123  as above
        # JSON is YAML.
        json.dump(executor_template(user=os.getuid(), group=os.getgid()), file)
    return Driver(
        pod=environment.get("KERNEL_POD_NAME") or socket.gethostname(),
        namespace=_namespace(environment),
        address=environment.get("KERNEL_POD_IP") or _own_address(),
        image=environment.get("KERNEL_EXECUTOR_IMAGE") or environment.get("KERNEL_IMAGE", ""),
        kernel_id=environment.get("KERNEL_ID", ""),
        template=template,
    )


def _namespace(environment: "Dict[str, str]") -> str:
    try:
        with open(f"{_SECRETS}/namespace", encoding="utf-8") as file:  # noqa: PTH123  as above
            return file.read().strip()
    except OSError:
        return environment.get("KERNEL_NAMESPACE", "default")


def _own_address() -> str:
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
