"""What went wrong, of all that a JVM writes."""

import re
from typing import Iterable

__all__ = ["last_exception"]

_THREAD = re.compile(r'^Exception in thread "[^"]*" ')
_LOGGED = re.compile(r"^\d{4}-\d\d-\d\d [\d:]+ [A-Z]+ \w+: ")
_THROWN = re.compile(r"[\w.$]+(?:Exception|Error)\b")


def last_exception(lines: Iterable[str]) -> str:
    """Return the first line of the last exception that Java wrote; nothing where there is none."""
    found = next((line for line in reversed(list(lines)) if _THROWN.search(line) and not line.startswith("\tat")), "")
    return _LOGGED.sub("", _THREAD.sub("", found))
