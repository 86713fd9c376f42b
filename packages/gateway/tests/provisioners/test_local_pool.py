import sys

import pytest

from enterprise_gateway.provisioners.local_pool import LocalPool, kind_of

COMMAND = [sys.executable, "-m", "ipykernel_launcher", "-f", "connection.json"]


@pytest.mark.parametrize(
    "command",
    [
        ["R", "--slave", "-e", "IRkernel::main()"],
        [sys.executable, "-m", "xeus"],
        [sys.executable, "kernel.py"],
        [sys.executable, "-m"],
        [sys.executable, "-S", "-m", "ipykernel_launcher"],
    ],
)
def test_only_ipython_kernels_have_a_kind(command):
    assert kind_of(command, {}) is None


def test_starts_differ_in_kind_by_interpreter_and_what_acts_before_a_program_begins():
    kind = kind_of(COMMAND, {"KERNEL_USERNAME": "alice", "PATH": "/bin"})
    assert kind == kind_of([*COMMAND[:4], "other.json"], {"KERNEL_USERNAME": "bob", "PATH": "/bin"})
    assert kind != kind_of(COMMAND, {"PATH": "/usr/bin"})
    assert kind != kind_of(["/other/python", *COMMAND[1:]], {"PATH": "/bin"})
    assert kind != kind_of([COMMAND[0], "-Xfrozen_modules=off", *COMMAND[1:]], {"PATH": "/bin"})


def test_a_kernelspec_that_names_no_interpreter_means_the_gateways():
    assert kind_of(["python", *COMMAND[1:]], {}) == kind_of(COMMAND, {})


def test_a_start_of_a_kind_that_nobody_keeps_claims_nothing_and_counts_for_nothing():
    claimed = []
    assert LocalPool(claimed=claimed.append).claim(COMMAND, environment={}, folder=None) is None
    assert claimed == []
