"""The supervisor itself: one loop, one kernel."""

import signal
from contextlib import ExitStack
from typing import Mapping, Optional, Sequence

from kernel_launchers.supervisor.loop import READ, Loop, Timer
from kernel_launchers.supervisor.output import Output, Tail
from kernel_launchers.supervisor.process import KernelProcess, exit_status
from kernel_launchers.supervisor.reaping import adopt_orphans, reap_others
from kernel_launchers.supervisor.signals import SignalInlet

__all__ = ["Supervisor"]

_STDOUT, _STDERR = 1, 2
_LAST_SECONDS = 5.0  # for what the kernel left behind, once it was sent SIGKILL
# What whoever sends these means is the kernel with everything it runs; the others have a meaning to the kernel alone.
_FOR_THE_GROUP = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Supervisor:
    """Runs a kernel as its child until it ends: reaps, forwards signals, copies its output, says why it ended."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        grace: Optional[float] = None,
        loop: Optional[Loop] = None,
    ) -> None:
        """Make it; nothing has been started yet.

        Parameters
        ----------
        grace
            Seconds that a kernel has for its end after SIGTERM; `None` for as many as it likes, for whoever ends the
            container has a patience of their own.
        """
        self.loop = Loop() if loop is None else loop
        self._command = command
        self._environment = environment
        self._grace = grace
        self._kernel: Optional[KernelProcess] = None
        self._patience: Optional[Timer] = None
        self._overdue = False

    def run(self) -> int:
        """Return the kernel's exit status, when it has ended and been told of.

        Raises
        ------
        NotInstalled
            The kernel's program can't be run.
        """
        with ExitStack() as stack:
            inlet = SignalInlet((*_FORWARDED, signal.SIGCHLD))
            stack.callback(inlet.close)
            tail = Tail()
            outputs = [Output(self.loop, destination=destination, tail=tail) for destination in (_STDOUT, _STDERR)]
            for output in outputs:
                stack.callback(output.close)
            # As early as can be: whatever else there is to do here is done while the kernel starts.
            kernel = self._kernel = KernelProcess(
                self._command, environment=self._environment, stdout=outputs[0].inlet, stderr=outputs[1].inlet
            )
            stack.callback(kernel.signal_group, signal.SIGKILL)
            for output in outputs:
                output.begin()
            from kernel_launchers.supervisor.memory import ContainerMemory
            from kernel_launchers.supervisor.termination import MemoryWitness, cause_of_end, report_end

            witness = MemoryWitness(ContainerMemory())
            adopt_orphans()
            self.loop.watch(inlet.fileno(), READ, lambda: self._take(inlet.read()))
            stack.callback(self.loop.forget, inlet.fileno())
            # A child that ended before the loop watches has put its signal into the inlet.
            self.loop.run()
            for output in outputs:
                output.end()
            assert kernel.status is not None  # noqa: S101  nothing else stops the loop
            cause = cause_of_end(kernel.status, witness)
            if self._overdue:
                cause = f"The kernel was ended by SIGKILL: it hadn't ended {self._grace:g} s after SIGTERM."
            if cause is not None:
                report_end(cause, tail.text())
            return exit_status(kernel.status)

    def interrupt(self) -> None:
        """Interrupt the kernel and everything it runs."""
        self.send_signal(signal.SIGINT)

    def send_signal(self, number: int) -> None:
        """Send a signal to the kernel, and to its children where that is what it means; SIGTERM begins its grace."""
        kernel = self._kernel
        if kernel is None:
            return
        if number in _FOR_THE_GROUP:
            kernel.signal_group(number)
        else:
            kernel.signal(number)
        if number == signal.SIGTERM and self._grace is not None and self._patience is None:
            self._patience = self.loop.call_later(self._grace, self._lose_patience)

    def _lose_patience(self) -> None:
        self._overdue = True
        self.send_signal(signal.SIGKILL)

    def _take(self, numbers: bytes) -> None:
        for number in numbers:
            if number != signal.SIGCHLD:
                self.send_signal(number)
        kernel = self._kernel
        if kernel is None:
            return
        # Whatever woke it: one SIGCHLD may stand for many ends.
        reap_others(kernel.pid, self._kernel_ended)
        if kernel.status is not None and kernel.group_is_gone():
            self.loop.stop()

    def _kernel_ended(self) -> None:
        if self._kernel is not None:
            self._kernel.reap()
            # A process that waits for a device or a file server doesn't heed SIGKILL until that answers.
            self.loop.call_later(_LAST_SECONDS, self.loop.stop)
