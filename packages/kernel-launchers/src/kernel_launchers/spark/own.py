"""What Spark is told of this very kernel, and what can go wrong with its session."""

import os
from typing import List, Mapping, Optional

from kernel_launchers.errors import InvalidOptions
from kernel_launchers.spark.pod import driver
from kernel_launchers.spark.submit import Submission, submission

__all__ = ["NOTICE_SECONDS", "STARTING", "SparkSessionFailed", "own_submission"]

NOTICE_SECONDS = 3.0
STARTING = "The Spark session is being started …"
"""What a cell is told that waits for its session longer than NOTICE_SECONDS."""


class SparkSessionFailed(Exception):
    """There is no session; the text says why."""

    def _render_traceback_(self) -> List[str]:
        # Its stack is this package's, in which no user finds anything.
        return [f"{type(self).__name__}: {self}"]


def own_submission(more: "Optional[Mapping[str, str]]" = None) -> Submission:
    """Return what Spark is told of this kernel.

    Parameters
    ----------
    more
        Settings beside it.

    Raises
    ------
    SparkSessionFailed
        An option can't be read.
    """
    environment = dict(os.environ)
    try:
        told = submission(driver(environment), environment)
    except InvalidOptions as error:
        raise SparkSessionFailed(str(error)) from None
    return told._replace(settings={**told.settings, **(more or {})})
