"""Prints what Spark is told of this kernel, as JSON: for packages of R that start Spark's JVM by themselves."""

import json
import sys

from kernel_launchers.spark.own import SparkSessionFailed, own_submission

__all__ = ["main"]

_SHELL = "sparkr-shell"


def main() -> int:
    """Return the exit status; where it isn't 0, what was printed says why."""
    try:
        told = own_submission()
    except SparkSessionFailed as error:
        sys.stdout.write(f"{error}\n")
        return 1
    json.dump({"arguments": told.command_line(_SHELL), "settings": told.settings, "options": told.values}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
