"""The Spark session of a Python kernel: made when a cell first names it, or beside the kernel's start."""

import ast
import builtins
import logging
import sys
import threading
from typing import Any, Callable, Dict, Optional, Set

from kernel_launchers.spark.context import waits_for_executors
from kernel_launchers.spark.executors import ExecutorWatch, causes_of_waiting
from kernel_launchers.spark.java_log import JavaLog
from kernel_launchers.spark.own import NOTICE_SECONDS, STARTING, SparkSessionFailed
from kernel_launchers.spark.pyspark_session import active_context, cancel_jobs, quiet_interrupts, tell_spark

__all__ = ["NAMES", "SparkSessions", "names_of"]

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
        watch = ExecutorWatch(stalled=self._is_stalled, causes=lambda: causes_of_waiting(log.so_far), say=self._say)
        shell.events.register("pre_run_cell", lambda _info: watch.cell_begins())
        shell.events.register("post_run_cell", lambda _result: watch.cell_ended())
        # Not among the user's names, of which `%reset` leaves none.
        setattr(builtins, _BEGIN, self.begin)
        shell.ast_transformers.append(self)
        quiet_interrupts()
        shell.events.register("post_run_cell", self._cell_ended)
        try:
            tell_spark()
        except SparkSessionFailed as error:
            # The first cell that wants a session is told.
            logging.getLogger(__name__).warning("Spark can't be prepared: %s", error)

    def _is_stalled(self) -> bool:
        if self._lock.locked():
            return True
        context = active_context()
        return context is not None and waits_for_executors(context._jsc.sc())  # noqa: SLF001  Python's part tells less

    def visit(self, tree: ast.AST) -> ast.AST:
        """Return a cell that makes the session first, where it names one that isn't there."""
        wanted = names_of(tree) - set(self._namespace)
        if wanted and isinstance(tree, ast.Module):
            tree.body.insert(0, ast.parse(f"{_BEGIN}()").body[0])
        return tree

    def _cell_ended(self, result: Any) -> None:  # noqa: ANN401  IPython's
        if isinstance(getattr(result, "error_in_exec", None), KeyboardInterrupt):
            context = active_context()
            if context is not None:
                cancel_jobs(context)
