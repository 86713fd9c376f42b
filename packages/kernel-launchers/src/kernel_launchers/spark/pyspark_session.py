"""A Spark session by pyspark: in a JVM that this package starts, and what can be done to it from outside of cells."""

import importlib
import logging
import os
import sys
import threading
from typing import Any, Callable

from kernel_launchers.jvm_process import JvmProcess
from kernel_launchers.spark.own import SparkSessionFailed, own_submission
from kernel_launchers.spark.submit import Submission

__all__ = ["active_context", "cancel_jobs", "connected", "make_session", "quiet_interrupts", "tell_spark"]


def quiet_interrupts() -> None:
    """Have py4j log no interrupt of a cell with its stack, which the cell shows already."""
    logging.getLogger().addFilter(lambda record: not record.getMessage().startswith("KeyboardInterrupt while sending command"))


def active_context() -> Any:  # noqa: ANN401  a SparkContext
    """Return the session's context, whoever made it; `None` where there is none. Nothing is imported for it."""
    pyspark: Any = sys.modules.get("pyspark")
    return None if pyspark is None else pyspark.SparkContext._active_spark_context  # noqa: SLF001  nothing else tells


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


def tell_spark() -> Submission:
    """Have every session of this process be one of this kernel, also one that the notebook makes by itself.

    Raises
    ------
    SparkSessionFailed
        An option can't be read.
    """
    told = own_submission()
    os.environ["PYSPARK_SUBMIT_ARGS"] = told.command_line()
    return told


def make_session(start: Callable[[Submission], JvmProcess], cause: Callable[[], str]) -> Any:  # noqa: ANN401  a SparkSession
    """Return a new Spark session of this kernel.

    Parameters
    ----------
    start
        Starts Spark's JVM.
    cause
        Returns what Java has said of its end; empty where it said nothing.

    Raises
    ------
    SparkSessionFailed
        Spark can't be started.
    """
    told = tell_spark()
    java_gateway, pyspark = importlib.import_module("pyspark.java_gateway"), importlib.import_module("pyspark")
    session_class = importlib.import_module("pyspark.sql").SparkSession
    if active_context() is not None:
        # The notebook made one of its own.
        return session_class.builder.getOrCreate()
    jvm, gateway = None, None
    try:
        jvm = start(told)
        gateway = connected(java_gateway, jvm)
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
        raise SparkSessionFailed(f"Spark can't be started: {cause() or words}") from error


def connected(java_gateway: Any, jvm: JvmProcess) -> Any:  # noqa: ANN401  pyspark's
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
