import platform
import subprocess
from pathlib import Path

import pytest

from kernel_image_puller.errors import ConfigurationError
from kernel_image_puller.runtimes.noop import noop_program, write_noop


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="there is no such program for this machine")
def test_the_program_runs_here_and_exits_with_0(tmp_path: Path) -> None:
    write_noop(tmp_path / "noop")
    assert subprocess.run([tmp_path / "noop"], check=False, env={}).returncode == 0


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("amd64", 62), ("aarch64", 183), ("arm64", 183)])
def test_the_header_names_the_machine(machine: str, number: int) -> None:
    program = noop_program(machine)
    assert program[:4] == b"\x7fELF"
    assert int.from_bytes(program[18:20], "little") == number
    assert int.from_bytes(program[96:104], "little") == len(program)


def test_another_machine_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="riscv64"):
        noop_program("riscv64")
