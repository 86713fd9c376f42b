import queue
import threading

import pytest

from kernel_image_puller.threads import Crashed, Inbox, Workers


def test_a_crash_reaches_the_inbox_and_the_log(caplog: pytest.LogCaptureFixture) -> None:
    inbox: Inbox = queue.SimpleQueue()
    workers = Workers(inbox=inbox)
    workers.start("bad", lambda: 1 / 0)
    crashed = inbox.get(timeout=5)
    assert isinstance(crashed, Crashed)
    assert (crashed.thread, type(crashed.error)) == ("bad", ZeroDivisionError)
    assert workers.join(5)
    assert "ZeroDivisionError" in caplog.text


def test_waiting_for_threads_has_an_end() -> None:
    workers = Workers(inbox=queue.SimpleQueue())
    release = threading.Event()
    workers.start("stuck", release.wait)
    assert not workers.join(0.05)
    release.set()
    assert workers.join(5)
