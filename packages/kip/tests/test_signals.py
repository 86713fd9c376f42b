import signal
import subprocess
import sys

import pytest

# The signal comes before anybody waits: a handler in the main thread could miss the moment, the system keeps a blocked one.
_PROGRAM = """
import os, queue, signal, sys
from kernel_image_puller.signals import deliver_signals
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.Signals[sys.argv[1]]})
os.kill(os.getpid(), signal.Signals[sys.argv[1]])
inbox = queue.SimpleQueue()
deliver_signals(inbox)
print(inbox.get(timeout=10))
os.kill(os.getpid(), signal.Signals[sys.argv[1]])
print(inbox.get(timeout=10))
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.parametrize(
    ("number", "message"),
    [(signal.SIGTERM, "Stop(why='SIGTERM')"), (signal.SIGINT, "Stop(why='SIGINT')"), (signal.SIGHUP, "Reload()")],
)
def test_every_signal_becomes_a_message_even_one_that_came_too_early(number: signal.Signals, message: str) -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, number.name], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (0, [message, message]), done.stderr
