"""The supervisor as its pod sees it: a process with a kernel below it. Any program is a kernel to it."""

import os
import signal

import pytest

WAITS_FOR_TERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print('ready')
# Not signal.pause, which would miss a signal that comes right before it.
while True:
    time.sleep(0.02)
"""


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("raise SystemExit(0)", 0, ""),
        ("raise SystemExit(7)", 7, "launch-kernel: The kernel exited with status 7.\n"),
        ("import os; os.kill(os.getpid(), 11)", 139, "launch-kernel: The kernel was ended by SIGSEGV.\n"),
        ("import os; os.kill(os.getpid(), 9)", 137, "launch-kernel: The kernel was ended by SIGKILL."),
    ],
)
def test_the_status_of_the_kernel_is_the_supervisors_and_its_cause_is_told(supervised, code, status, words):
    output, ended = supervised(code).ended()
    assert ended == status
    assert output.startswith(words) if words else output == ""


def test_the_kernel_leads_a_session_and_a_group_of_its_own(supervised):
    kernel = supervised("import os; print(os.getpid(), os.getsid(0), os.getpgrp(), os.getppid())")
    pid, session, group, parent = map(int, kernel.line().split())
    assert pid == session == group
    assert parent == kernel.process.pid


def test_the_end_of_the_container_is_the_kernels_to_tidy_up_for(supervised):
    kernel = supervised(WAITS_FOR_TERM)
    assert kernel.line() == "ready"
    kernel.send(signal.SIGTERM)
    assert kernel.ended()[1] == 5


def test_a_signal_that_comes_before_the_kernel_is_ready_is_not_lost(supervised):
    # Its parent is told to end while the kernel's interpreter still starts.
    kernel = supervised("import os, signal, time\nos.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(60)")
    assert kernel.ended()[1] == 128 + signal.SIGTERM


def test_a_kernel_that_ignores_sigterm_is_killed_when_its_grace_is_over(supervised):
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: print('no')); print('ready')\nwhile True: time.sleep(0.02)"
    )
    kernel = supervised(code, options=("--termination-grace", "1"))
    assert kernel.line() == "ready"
    kernel.send(signal.SIGTERM)
    assert kernel.line() == "no"
    output, status = kernel.ended()
    assert status == 137
    assert "it hadn't ended 1 s after SIGTERM" in output


@pytest.mark.parametrize(
    ("pool", "argument"), [("multiprocessing.pool.Pool", "context"), ("concurrent.futures.ProcessPoolExecutor", "mp_context")]
)
def test_an_interrupt_reaches_the_kernel_its_children_and_worker_pools(supervised, session_of, pool, argument):
    code = f"""
import concurrent.futures, multiprocessing.pool, os, signal, subprocess, sys, time
# Python itself sleeps over a signal that comes just before its main thread waits for a lock; a timer wakes it.
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
def work(_):
    os.write(1, b'working\\n')
    time.sleep(600)
context = {{'{argument}': multiprocessing.get_context('fork')}}
print(os.getpid())
child = subprocess.Popen(['sleep', '600'])
sys.stderr = open(os.devnull, 'w')  # what interrupted workers say of it
try:
    list({pool}(2, **context).map(work, range(2)))
except KeyboardInterrupt:
    print('interrupted', child.wait())
finally:
    os._exit(3)
"""
    kernel = supervised(code)
    session = int(kernel.line())
    assert [kernel.line(), kernel.line()] == ["working", "working"]
    kernel.send(signal.SIGINT)
    assert kernel.line() == f"interrupted {-signal.SIGINT}"
    assert kernel.ended()[1] == 3
    assert session_of(session) == set()


def test_no_zombie_stays(supervised):
    code = """
import os, pathlib, subprocess, sys
for _ in range(20):
    subprocess.run(['sh', '-c', 'true & exit 0'], check=True)
def mine():
    for entry in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            fields = (entry / 'stat').read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getppid() and int(entry.name) != os.getpid():
            yield entry.name
while list(mine()):
    os.sched_yield()
print('none')
"""
    assert supervised(code).line() == "none"


def test_what_a_kernel_left_in_its_group_ends_with_it(supervised, session_of):
    code = "import os, subprocess; print(os.getpid()); subprocess.Popen(['sleep', '600']); os._exit(4)"
    kernel = supervised(code)
    session = int(kernel.line())
    assert kernel.ended()[1] == 4
    assert session_of(session) == set()


def test_a_kernel_whose_child_holds_its_output_for_ever_ends_all_the_same(supervised):
    # It left the kernel's session, so nothing but the end of the container ends it.
    code = "import os, subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid); os._exit(4)"
    kernel = supervised(code)
    try:
        assert kernel.process.wait(timeout=30) == 4
    finally:
        os.kill(int(kernel.line()), signal.SIGKILL)


def test_a_lot_of_output_comes_through_whole_and_in_order(supervised):
    lines, status = supervised("for number in range(200_000): print(number)").ended()
    assert status == 0
    assert lines.split() == [str(number) for number in range(200_000)]


def test_a_log_that_takes_nothing_more_holds_up_the_kernel_and_not_its_supervisor(supervised):
    kernel = supervised("print('begun')\nwhile True: print('x' * 1000)")
    assert kernel.line() == "begun"
    # Nobody reads any more, and both pipes are full soon.
    kernel.send(signal.SIGTERM)
    assert kernel.process.wait(timeout=30) == 128 + signal.SIGTERM


def test_a_kernel_outlives_the_reader_of_its_log(supervised):
    code = "import sys\nsys.stdin.readline()\nfor _ in range(5000): print('x' * 100)\nraise SystemExit(6)"
    kernel = supervised(code, environment={"PYTHONUNBUFFERED": "1"})
    kernel.process.stdout.close()
    assert kernel.process.wait(timeout=30) == 6


def test_signals_that_the_launcher_was_started_without_work_in_the_kernel(supervised):
    # A shell without job control starts what runs in the background with SIGINT ignored.
    code = (
        "import signal, sys; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler,"
        " signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        kernel = supervised(code)
    finally:
        signal.signal(signal.SIGINT, before)
    assert kernel.line() == "True set()"


def test_a_command_is_told_a_connection_file_of_its_own(supervised, tmp_path):
    # Some kernels write into theirs, or remove it at their end: the mounted one is read-only, and needed for the next kernel.
    code = "import os, sys; path, same, kernel = sys.argv[1:]; print(open(path).read()); os.unlink(same); print(kernel)"
    # A gateway fills the place in with what it has mounted, before the launcher sees it.
    arguments = ("{connection_file}", str(tmp_path / "connection.json"), "{kernel_id}.")
    kernel = supervised(code, arguments=arguments, options=("--kernel-id", "k"))
    assert kernel.line() == (tmp_path / "connection.json").read_text()
    assert kernel.line() == "k."
    assert kernel.ended()[1] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["connection.json"]


def test_a_program_that_the_image_lacks_is_told(supervised):
    output, status = supervised(None, options=("--", "/no/such/kernel")).ended()
    assert status == 3
    assert output == "launch-kernel: the kernel's program /no/such/kernel can't be run in this image: No such file or directory\n"


def test_a_kernelspec_of_the_image_names_command_and_environment(supervised, tmp_path):
    folder = tmp_path / "kernels" / "mine"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(
        '{"argv": ["sh", "-c", "echo $COLOUR $0 $1", "{resource_dir}", "{kernel_id}"], "env": {"COLOUR": "${SHADE} blue"}}'
    )
    kernel = supervised(
        None, options=("--kernelspec", "mine"), environment={"JUPYTER_PATH": str(tmp_path), "SHADE": "light", "KERNEL_ID": "k"}
    )
    assert kernel.line() == f"light blue {folder} k"


def test_a_kernelspec_that_the_image_lacks_is_told(supervised):
    output, status = supervised(None, options=("--kernelspec", "julia")).ended()
    assert status == 3
    assert "the image has no kernelspec julia" in output
