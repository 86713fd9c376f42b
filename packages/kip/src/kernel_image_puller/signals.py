"""Turns signals into messages, without ever losing one.

A handler would not do: Python runs it in the main thread between two of its instructions, and a signal that arrives just
before that thread begins to wait is noticed only when the wait ends, which may be never. So the signals are blocked in
every thread, where the system keeps them, and one thread does nothing but wait for them.
"""

import signal
import threading

from kernel_image_puller.threads import Inbox, Reload, Stop

__all__ = ["deliver_signals"]

_MESSAGES: dict[signal.Signals, Stop | Reload] = {
    signal.SIGTERM: Stop("SIGTERM"),
    signal.SIGINT: Stop("SIGINT"),
    signal.SIGHUP: Reload(),
}


def deliver_signals(inbox: Inbox) -> None:
    """Put a message into the inbox for every SIGTERM, SIGINT and SIGHUP from now on.

    To be called before any other thread is started, because threads take over what is blocked from their creator.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _MESSAGES)
    threading.Thread(target=_deliver, args=(inbox,), name="signals", daemon=True).start()


def _deliver(inbox: Inbox) -> None:
    while True:
        inbox.put(_MESSAGES[signal.Signals(signal.sigwait(_MESSAGES))])
