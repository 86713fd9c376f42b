"""What a SparkContext of the JVM tells, for Python and Scala alike."""

from typing import Any

__all__ = ["waits_for_executors"]


def waits_for_executors(context: Any) -> bool:  # noqa: ANN401  an object of the JVM
    """Tell whether jobs run in a cluster of which there is no executor: the driver alone is listed."""
    if not str(context.master()).startswith("k8s"):
        return False
    tracker = context.statusTracker()
    return len(tracker.getActiveJobIds()) > 0 and len(tracker.getExecutorInfos()) <= 1
