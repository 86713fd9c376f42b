"""Processes of this machine that wait for the start of an IPython kernel, with everything loaded that it will need.

Such a process runs the kernelspec's own interpreter, begins before anybody is known whose kernel it will be, and is told its
command line, environment and folder on its standard input. What acts before a program begins can't be told, so a process is
only for starts in which that is the same.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from enterprise_gateway.launch.environment import acts_at_start
from enterprise_gateway.provisioners.output_tail import OutputTail

__all__ = ["LocalPool", "ProcessKind", "WaitingProcess", "kind_of"]

_log = logging.getLogger(__name__)

# Any interpreter that has ipykernel runs it. In the end it does what `python -m MODULE` does.
_PROGRAM = """
import importlib, json, os, runpy, sys
own = sys.path.pop(0)
for name in ("ipykernel.kernelapp ipykernel.ipkernel ipykernel.debugger IPython.core.completerlib IPython.core.debugger "
             "IPython.core.oinspect IPython.extensions.storemagic sqlite3 tornado.platform.asyncio tornado.queues "
             "encodings.idna encodings.latin_1").split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass
told = sys.stdin.buffer.read()
if not told:
    sys.exit(0)
told = json.loads(told)
os.environ.update(told["environment"])
if told["folder"]:
    os.chdir(told["folder"])
sys.path.insert(0, own)
module, sys.argv[:] = told["module"], [told["module"], *told["arguments"]]
del name, told, own
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
_MODULES = frozenset({"ipykernel_launcher", "ipykernel"})
_MODULE_OPTION = "-m"
_THIS_INTERPRETER = frozenset({"python", f"python{sys.version_info[0]}", "python{}.{}".format(*sys.version_info)})


class ProcessKind(NamedTuple):
    """What starts have in common that could have each other's processes."""

    interpreter: tuple[str, ...]
    """With its options."""
    environment: tuple[tuple[str, str], ...]
    """As much of it as acts before a program begins."""


@dataclass(frozen=True)
class WaitingProcess:
    """A process that waits."""

    process: "subprocess.Popen[bytes]"
    output: OutputTail

    def end(self) -> None:
        """End it, which nobody has claimed."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()
        self.output.close()


def kind_of(command: Sequence[str], environment: Mapping[str, str]) -> ProcessKind | None:
    """Return what processes could be the kernel of a command line; `None` where it isn't an IPython kernel's."""
    place = _place_of_module(command)
    if place is None:
        return None
    # As jupyter_client has it: a kernelspec that names no interpreter means this one.
    interpreter = sys.executable if command[0] in _THIS_INTERPRETER else command[0]
    acting = sorted((name, value) for name, value in environment.items() if acts_at_start(name))
    return ProcessKind((interpreter, *command[1 : place - 1]), tuple(acting))


def _place_of_module(command: Sequence[str]) -> int | None:
    if _MODULE_OPTION not in command:
        return None
    place = list(command).index(_MODULE_OPTION) + 1
    options = command[1 : place - 1]
    known = place < len(command) and command[place] in _MODULES
    return place if known and all(option.startswith("-X") for option in options) else None


class LocalPool:
    """Processes in waiting, by what they can become.

    Parameters
    ----------
    claimed
        Told of each start that a process in waiting could have been for.
    """

    def __init__(self, *, claimed: Callable[[ProcessKind], None] = lambda _kind: None) -> None:
        self._claimed = claimed
        self._waiting: dict[ProcessKind, list[WaitingProcess]] = {}

    def claim(self, command: Sequence[str], *, environment: Mapping[str, str], folder: str | None) -> WaitingProcess | None:
        """Return a process that is the kernel of a command line from now on; `None` where none waits for it."""
        kind = kind_of(command, environment)
        place = _place_of_module(command)
        if kind is None or place is None or kind not in self._waiting:
            return None
        self._claimed(kind)
        waiting = self._waiting[kind]
        while waiting:
            found = waiting.pop(0)
            if found.process.poll() is None and self._tell(found, command[place:], environment, folder):
                return found
            found.end()
        return None

    @staticmethod
    def _tell(waiting: WaitingProcess, command: Sequence[str], environment: Mapping[str, str], folder: str | None) -> bool:
        # It ends with this process, as jupyter_client has it.
        variables = {**environment, "JPY_PARENT_PID": str(os.getpid())}
        told = {"module": command[0], "arguments": list(command[1:]), "environment": variables, "folder": folder}
        stdin = waiting.process.stdin
        if stdin is None:
            return False
        try:
            stdin.write(json.dumps(told).encode())
            stdin.close()
        except OSError:
            return False
        return True

    def count(self, kind: ProcessKind) -> int:
        """Return how many processes of a kind wait."""
        return len(self._waiting.get(kind, ()))

    def add(self, kind: ProcessKind) -> None:
        """Have one more wait; raises `OSError` where its program can't be run."""
        output = OutputTail()
        try:
            process = subprocess.Popen(  # noqa: S603  the kernelspec's own interpreter
                [*kind.interpreter, "-c", _PROGRAM],
                env=dict(kind.environment),
                stdin=subprocess.PIPE,
                stdout=output.write_end,
                stderr=output.write_end,
                start_new_session=True,
            )
        except OSError:
            output.close()
            raise
        finally:
            output.close_write_end()
        self._waiting.setdefault(kind, []).append(WaitingProcess(process, output))

    def keep_only(self, counts: Mapping[ProcessKind, int]) -> None:
        """End what is more than wanted, or isn't wanted any more, or has ended."""
        for kind, processes in list(self._waiting.items()):
            alive = [each for each in processes if each.process.poll() is None]
            kept = alive[: counts.get(kind, 0)]
            for each in processes:
                if each not in kept:
                    each.end()
            self._waiting[kind] = kept
            if kind not in counts:
                del self._waiting[kind]

    def close(self) -> None:
        """End all that wait."""
        self.keep_only({})
