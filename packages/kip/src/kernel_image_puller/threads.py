"""Threads whose crash nobody can overlook."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from kernel_image_puller.logs import fields

__all__ = ["Crashed", "Inbox", "Reload", "Stop", "Workers"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crashed:
    """A thread ended by an error that nobody had foreseen."""

    thread: str
    error: BaseException


@dataclass(frozen=True)
class Stop:
    """Somebody wants the program to end."""

    why: str


@dataclass(frozen=True)
class Reload:
    """Somebody wants credentials and sources to be read anew, now."""


Inbox = queue.SimpleQueue[Crashed | Stop | Reload]


class Workers:
    """The threads of this program."""

    def __init__(self, *, inbox: Inbox) -> None:
        self._inbox = inbox
        self._threads: list[threading.Thread] = []

    def start(self, name: str, work: Callable[[], object]) -> None:
        """Run `work` in a thread; an error in it is logged and reported to the inbox."""
        thread = threading.Thread(target=self._guarded, args=(name, work), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for all threads, at most so long; tell whether all have ended."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _guarded(self, name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            _LOGGER.critical("A thread has crashed; the program ends", exc_info=True, extra=fields(thread=name))
            self._inbox.put(Crashed(name, error))
