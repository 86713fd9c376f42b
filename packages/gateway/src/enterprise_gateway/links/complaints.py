"""What is wrong with one kernel's messages, for the gateway's log."""

import logging

__all__ = ["Complaints"]

_log = logging.getLogger(__name__)


class Complaints:
    """Logs each kind of complaint about a kernel once: who can make one bad message can make millions."""

    def __init__(self, kernel_id: str) -> None:
        self._kernel_id = kernel_id
        self._said: set[str] = set()

    def __call__(self, what: str, **fields: str) -> None:
        """Log what is wrong, unless it was said before.

        Parameters
        ----------
        fields
            Particulars of this one case.
        """
        if what not in self._said:
            self._said.add(what)
            _log.warning(what, extra={"kernel_id": self._kernel_id, **fields})
