"""A program that does nothing, for images that have no shell.

To make a kubelet pull an image without image volumes, a container of that image must start. What it runs is this: a
static executable of some hundred bytes that exits with 0, copied into the pod by an init container of the puller's own
image. `kernel-image-puller write-noop PATH` writes it for the machine that it runs on.
"""

import platform
import struct
from pathlib import Path

from kernel_image_puller.errors import ConfigurationError

__all__ = ["noop_program", "write_noop"]

_LOAD_ADDRESS = 0x400000
_HEADERS_SIZE = 120
_X86_64, _AARCH64 = 62, 183
_PROGRAMS = {
    # xor edi, edi; mov eax, 60 (exit); syscall
    "x86_64": (_X86_64, bytes.fromhex("31ff b83c000000 0f05")),
    # mov x0, #0; mov x8, #93 (exit); svc #0
    "aarch64": (_AARCH64, bytes.fromhex("000080d2 a80b80d2 010000d4")),
}
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


def noop_program(machine: str) -> bytes:
    """Return the executable for a machine, named as `uname -m` names it.

    Raises
    ------
    ConfigurationError
        There is none for this kind of machine.
    """
    try:
        number, code = _PROGRAMS[_ALIASES.get(machine, machine)]
    except KeyError:
        raise ConfigurationError(f"there is no program that does nothing for {machine}; use image volumes") from None
    size = _HEADERS_SIZE + len(code)
    elf = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        2,  # an executable at fixed addresses
        number,
        1,
        _LOAD_ADDRESS + _HEADERS_SIZE,
        64,  # the program header follows at once
        0,
        0,
        64,
        56,
        1,
        0,
        0,
        0,
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _LOAD_ADDRESS, _LOAD_ADDRESS, size, size, 0x1000)
    return elf + segment + code


def write_noop(path: Path) -> None:
    """Write the executable for this machine."""
    path.write_bytes(noop_program(platform.machine()))
    path.chmod(0o755)
