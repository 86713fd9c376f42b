"""The supervisor itself: one loop, one kernel."""

import signal
from contextlib import ExitStack
from typing import List, Mapping, Optional, Protocol, Sequence

from kernel_launchers.supervisor.claim_channel import READY_DESCRIPTOR, ClaimChannel
from kernel_launchers.supervisor.loop import READ, Loop, Timer
from kernel_launchers.supervisor.output import Output, Tail
from kernel_launchers.supervisor.process import KernelProcess, exit_status
from kernel_launchers.supervisor.reaping import adopt_orphans, reap_others
from kernel_launchers.supervisor.signals import SignalInlet

__all__ = ["KernelKeeper", "Supervisor"]

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_LAST_SECONDS = 5.0  # for what the kernel left behind, once it was sent SIGKILL
# What whoever sends these means is the kernel with everything it runs; the others have a meaning to the kernel alone.
_FOR_THE_GROUP = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class KernelKeeper(Protocol):
    """Who has more to do with the kernel than to run it once."""

    def prepare(self) -> None:
        """Make ready what the kernel needs for a start."""

    def begin(self, supervisor: "Supervisor") -> None:
        """Begin, beside a kernel that was started."""

    def ready_for_claim(self) -> None:
        """Take note that what waits for a claim is ready for it."""

    def kernel_ended(self, cause: Optional[str], *, final: bool) -> bool:
        """Take note of the kernel's end; tell whether it may be started again. Where it is final, it won't be."""

    def close(self) -> None:
        """End."""


class Supervisor:
    """Runs a kernel as its child until it ends: reaps, forwards signals, copies its output, says why it ended."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        waiting_command: Optional[Sequence[str]] = None,
        grace: Optional[float] = None,
        loop: Optional[Loop] = None,
        keeper: Optional[KernelKeeper] = None,
    ) -> None:
        """Make it; nothing has been started yet.

        Parameters
        ----------
        waiting_command
            What is started first: a process that waits, and becomes the kernel when its pod was claimed (`waiting.py`).
        grace
            Seconds that a kernel has for its end after SIGTERM; `None` for as many as it likes, for whoever ends the
            container has a patience of their own.
        keeper
            Decides whether a kernel that ended is started again; without one it never is.
        """
        self.loop = Loop() if loop is None else loop
        self._command = command
        self._environment = environment
        self._waiting_command = waiting_command
        self._claim_channel: Optional[ClaimChannel] = None
        self._grace = grace
        self._keeper = keeper
        self._kernel: Optional[KernelProcess] = None
        self._outputs: List[Output] = []
        self._tail = Tail()
        self._patience: Optional[Timer] = None
        self._last_patience: Optional[Timer] = None
        self._is_over = False  # means: it ended, with everything that it left behind
        self._ending = False  # means: it isn't started again
        self._overdue = False
        self._cause: Optional[str] = None

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
            stack.callback(self._let_go)
            # As early as can be: whatever else there is to do here is done while the kernel starts.
            self._start()
            from kernel_launchers.supervisor.termination import report_end

            adopt_orphans()
            if self._keeper is not None:
                stack.callback(self._keeper.close)
                self._keeper.begin(self)
            self.loop.watch(inlet.fileno(), READ, lambda: self._take(inlet.read()))
            stack.callback(self.loop.forget, inlet.fileno())
            # A child that ended before the loop watches has put its signal into the inlet.
            self.loop.run()
            kernel = self._kernel
            if kernel is None or kernel.status is None:
                raise AssertionError("nothing stops the loop before the kernel has ended")
            if self._cause is not None:
                report_end(self._cause, self._tail.text())
            return exit_status(kernel.status)

    # -------------------------------------------------------------------------------------------------- start and end

    def _start(self) -> None:
        if self._keeper is not None:
            self._keeper.prepare()
        self._tail = Tail()
        self._outputs = [Output(self.loop, destination=number, tail=self._tail) for number in (_STDOUT, _STDERR)]
        descriptors = {_STDOUT: self._outputs[0].inlet, _STDERR: self._outputs[1].inlet}
        if self._waiting_command is None:
            self._kernel = KernelProcess(self._command, environment=self._environment, descriptors=descriptors)
        else:
            channel = self._claim_channel = ClaimChannel(self.loop, ready=self._ready_for_claim)
            descriptors = {_STDIN: channel.claims_out, **descriptors, READY_DESCRIPTOR: channel.ready_in}
            self._kernel = KernelProcess(self._waiting_command, environment=self._environment, descriptors=descriptors)
            channel.begin()
        self._is_over = False
        for output in self._outputs:
            output.begin()
        # Not before: the kernel's start waits for nothing that it doesn't need.
        from kernel_launchers.supervisor.memory import ContainerMemory
        from kernel_launchers.supervisor.termination import MemoryWitness

        self._witness = MemoryWitness(ContainerMemory())

    def claim(self, environment: Mapping[str, str]) -> None:
        """Have the process that waits become the kernel, which finds this in its environment; so do those that come after it."""
        if self._claim_channel is not None:
            self._claim_channel.tell(environment)
        self._waiting_command = None
        self._environment = {**self._environment, **environment}
        kernel_id = environment.get("KERNEL_ID", "")
        self._command = [argument.replace("{kernel_id}", kernel_id) for argument in self._command]

    def start_again(self) -> None:
        """Start the kernel once more, which has ended."""
        self._start()

    def end(self) -> None:
        """End: at once where the kernel has, else as soon as it does."""
        self._ending = True
        if self._is_over:
            self.loop.stop()

    def _over(self) -> None:
        """Say why the kernel ended, now that nothing of it is left."""
        kernel = self._kernel
        if self._is_over or kernel is None or kernel.status is None:
            return
        from kernel_launchers.supervisor.termination import cause_of_end, log_end

        self._is_over = True
        if self._last_patience is not None:
            self._last_patience.cancel()
        for output in self._outputs:
            output.end()
            output.close()
        self._outputs = []
        self._close_claim_channel()
        self._cause = cause_of_end(kernel.status, self._witness)
        if self._overdue:
            self._cause = f"The kernel was ended by SIGKILL: it hadn't ended {self._grace:g} s after SIGTERM."
        if self._keeper is None or not self._keeper.kernel_ended(self._cause, final=self._ending):
            self.loop.stop()
        elif self._cause is not None:
            log_end(self._cause)

    def _let_go(self) -> None:
        if self._kernel is not None:
            self._kernel.signal_group(signal.SIGKILL)
        for output in self._outputs:
            output.close()
        self._close_claim_channel()

    def _ready_for_claim(self) -> None:
        if self._keeper is not None:
            self._keeper.ready_for_claim()

    def _close_claim_channel(self) -> None:
        if self._claim_channel is not None:
            self._claim_channel.close()
            self._claim_channel = None

    # -------------------------------------------------------------------------------------------------------- signals

    def interrupt(self) -> None:
        """Interrupt the kernel and everything it runs."""
        self.signal_kernel(signal.SIGINT)

    def send_signal(self, number: int) -> None:
        """Pass a signal on to the kernel; SIGTERM begins its grace, after which it isn't started again."""
        self.signal_kernel(number)
        if number != signal.SIGTERM:
            return
        self.end()
        if self._grace is not None and self._patience is None:
            self._patience = self.loop.call_later(self._grace, self._lose_patience)

    def signal_kernel(self, number: int) -> None:
        """Send a signal to the kernel, and to its children where that is what it means."""
        kernel = self._kernel
        if kernel is None:
            return
        if number in _FOR_THE_GROUP:
            kernel.signal_group(number)
        else:
            kernel.signal(number)

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
            self._over()

    def _kernel_ended(self) -> None:
        if self._kernel is not None:
            self._kernel.reap()
            # A process that waits for a device or a file server doesn't heed SIGKILL until that answers.
            self._last_patience = self.loop.call_later(_LAST_SECONDS, self._over)
