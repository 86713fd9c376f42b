import queue
import threading

import pytest

from kernel_image_puller.threads import Crashed, Crew, Inbox


def test_a_crash_reaches_the_inbox_and_the_log(caplog: pytest.LogCaptureFixture) -> None:
    inbox: Inbox = queue.SimpleQueue()
    crew = Crew(inbox=inbox)
    crew.start("bad", lambda: 1 / 0)
    crashed = inbox.get(timeout=5)
    assert isinstance(crashed, Crashed)
    assert (crashed.thread, type(crashed.error)) == ("bad", ZeroDivisionError)
    assert crew.join(5)
    assert "ZeroDivisionError" in caplog.text


def test_waiting_for_threads_has_an_end() -> None:
    crew = Crew(inbox=queue.SimpleQueue())
    release = threading.Event()
    crew.start("stuck", release.wait)
    assert not crew.join(0.05)
    release.set()
    assert crew.join(5)
