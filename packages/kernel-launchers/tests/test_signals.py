import signal
import subprocess
import sys

import pytest

from kernel_launchers.signals import run_child

WAITS = "import signal,sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); print('ready', flush=True); signal.pause()"
PARENT = f"import sys; from kernel_launchers.signals import run_child; sys.exit(run_child([sys.executable, '-c', {WAITS!r}]))"


@pytest.mark.parametrize(("program", "status"), [("import sys; sys.exit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_the_status_of_a_child_is_the_launchers(program, status):
    assert run_child([sys.executable, "-c", program]) == status


def test_a_signal_reaches_the_child():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(timeout=30) == 5
