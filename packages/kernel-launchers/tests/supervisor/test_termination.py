import os
import signal

import pytest

from enterprise_gateway_common.termination import split_termination_message
from kernel_launchers.supervisor.memory import ContainerMemory
from kernel_launchers.supervisor.termination import MemoryWitness, cause_of_end, report, report_end

MEBIBYTE = 1 << 20
KILLED = signal.SIGKILL


def exited(status):
    return status << 8


@pytest.fixture(params=["version 1", "version 2"])
def group(request, tmp_path):
    """Return a function that writes what the container's control group tells; `None` for what it doesn't."""
    membership = tmp_path / "cgroup"
    if request.param == "version 1":
        membership.write_text("9:pids:/kubepods/x\n4:memory:/kubepods/x\n")
        folder, names = tmp_path / "memory", ("memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes")
        kills_text, unlimited = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n", str((1 << 63) - 4096)
    else:
        membership.write_text("0::/\n")
        folder, names = tmp_path, ("memory.events", "memory.max", "memory.peak")
        kills_text, unlimited = "low 0\nhigh 0\nmax 9\noom 3\noom_kill {}\n", "max"
    folder.mkdir(exist_ok=True)

    def write(*, kills, limit=None, peak=None):
        texts = (kills_text.format(kills), unlimited if limit is None else str(limit), None if peak is None else str(peak))
        for name, text in zip(names, texts, strict=True):
            if text is not None:
                (folder / name).write_text(text + "\n")
        return ContainerMemory(root=tmp_path, membership=membership)

    return write


def test_a_kernel_that_was_killed_for_memory_is_told_with_limit_and_peak(group):
    witness = MemoryWitness(group(kills=2, limit=150 * MEBIBYTE))
    group(kills=3, limit=150 * MEBIBYTE, peak=150 * MEBIBYTE)
    assert cause_of_end(KILLED, witness) == (
        "The kernel was ended because it ran out of memory: OOMKilled, it used more than its limit (150Mi)."
        " Its container used 150Mi at most."
    )


def test_a_kernel_without_a_limit_was_killed_because_its_node_had_no_more(group):
    witness = MemoryWitness(group(kills=0))
    group(kills=1)
    assert "OOMKilled, its node or pod had no more." in cause_of_end(KILLED, witness)


def test_a_kernel_that_somebody_killed_did_not_run_out_of_memory(group):
    # Nor did one whose container had lost a process before it began.
    assert cause_of_end(KILLED, MemoryWitness(group(kills=1, limit=MEBIBYTE))) == "The kernel was ended by SIGKILL."


def test_a_kernel_that_failed_after_its_workers_were_killed_says_so(group):
    witness = MemoryWitness(group(kills=0, limit=MEBIBYTE))
    group(kills=2, limit=MEBIBYTE)
    cause = cause_of_end(exited(1), witness)
    assert cause.startswith("The kernel exited with status 1. Before, 2 of its processes had been killed for memory: it used")
    assert cause_of_end(exited(0), witness) is None


def test_where_nothing_tells_of_memory_a_kill_may_have_been_for_it(tmp_path):
    witness = MemoryWitness(ContainerMemory(root=tmp_path, membership=tmp_path / "none"))
    assert cause_of_end(KILLED, witness) == "The kernel was ended by SIGKILL. The system may have run out of memory."


def test_the_group_of_this_process_can_be_read_or_is_none():
    memory = ContainerMemory()
    assert all(amount is None or amount >= 0 for amount in (memory.kills(), memory.limit(), memory.peak()))


def test_signals_have_names_where_they_have_one(group):
    witness = MemoryWitness(group(kills=0))
    assert cause_of_end(signal.SIGSEGV, witness) == "The kernel was ended by SIGSEGV."
    assert cause_of_end(signal.SIGRTMIN + 3, witness) == f"The kernel was ended by signal {signal.SIGRTMIN + 3}."
    assert os.WIFSIGNALED(signal.SIGRTMIN + 3)


def test_the_end_of_a_message_stands_where_kubernetes_looks_for_it(tmp_path, capfd):
    file = tmp_path / "termination-log"
    file.touch()
    report("x" * 5000 + " the cause", file=file)
    assert file.read_text().endswith(" the cause")
    assert len(file.read_bytes()) == 4096
    assert "the cause" in capfd.readouterr().err


def test_an_end_stands_there_with_its_cause_first_and_the_log_has_its_words_only_once(tmp_path, capfd):
    file = tmp_path / "termination-log"
    file.touch()
    report_end("The kernel exited with status 7.", "x" * 5000 + " last words", file=file)
    assert len(file.read_bytes()) == 4096
    cause, words = split_termination_message(file.read_text())
    assert cause == "The kernel exited with status 7."
    assert words.endswith(" last words")
    assert capfd.readouterr().err == "launch-kernel: The kernel exited with status 7.\n"


def test_outside_of_kubernetes_only_the_log_has_it(tmp_path, capfd):
    report("the cause", file=tmp_path / "none")
    assert "the cause" in capfd.readouterr().err
    assert not (tmp_path / "none").exists()
