"""With real kernels: what a process does can't be said by a stand-in."""

import asyncio
import os
import signal
import sys

import psutil
import pytest
import zmq
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec

from enterprise_gateway.errors import Conflict, LaunchFailed, LaunchTimeout, Unavailable
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.lifecycle import KernelLifecycle
from enterprise_gateway.kernels.manager import GatewayKernelManager
from enterprise_gateway.kernels.starter import KernelStarter, LifecycleOptions
from enterprise_gateway.kernels.supervision import LocalSupervision
from enterprise_gateway.kernelspecs.catalogue import Kernelspec
from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway.provisioners.local import GatewayLocalProvisioner
from enterprise_gateway.provisioners.local_ports import LocalPorts, ephemeral_range

IPYKERNEL = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
ID = "01234567-89ab-4cde-8f01-23456789abcd"


class NotedKernel(Kernel):
    """Notes what becomes of it, and lets a test wait for that."""

    told: list[tuple[str, str | None]]
    changed: asyncio.Event

    def _note(self, event, reason=None):
        self.told.append((event, reason))
        self.changed.set()

    def restarting(self, reason, *, in_place=False):
        super().restarting(reason, in_place=in_place)
        self._note("restarting", reason)

    def restarted(self):
        super().restarted()
        self._note("restarted")

    def dead(self, reason):
        super().dead(reason)
        self._note("dead", reason)

    async def until(self, event):
        async with asyncio.timeout(20):
            while event not in [name for name, _ in self.told]:
                self.changed.clear()
                await self.changed.wait()


class Counts:
    def log_bytes(self, change):
        pass

    def dropped(self, reason):
        raise AssertionError(reason)


class Made:
    def __init__(self, folder, argv, options):
        self.context = zmq.Context()
        spec = KernelSpec(argv=argv, display_name="x", language="python", metadata={"supported_encryption": ["curve"]})
        manager = GatewayKernelManager(
            gateway_spec=spec,
            connection_file=str(folder / "kernel.json"),
            context=zmq.asyncio.Context.shadow(self.context.underlying),
            transport_encryption="auto",
        )
        manager.kernel_id = ID
        ports = LocalPorts("0..0", ephemeral=ephemeral_range())
        manager.provisioner = GatewayLocalProvisioner(ports=ports, kernel_id=ID, kernel_spec=spec, parent=manager)
        link = KernelLink(
            kernel_id=ID, context=self.context, session=lambda: manager.session, options=LinkOptions(), metrics=Counts()
        )
        self.kernel = NotedKernel(
            kernel_id=ID,
            kernelspec=Kernelspec("x", folder, spec, ()),
            user="alice",
            manager=manager,
            link=link,
        )
        self.restarts, self.kernel.told, self.kernel.changed = [], [], asyncio.Event()
        starter, self.ends = KernelStarter(kernel=self.kernel, options=options), []
        self.lifecycle = KernelLifecycle(
            kernel=self.kernel,
            starter=starter,
            supervision=LocalSupervision(kernel=self.kernel, starter=starter, on_restart=self.restarts.append),
            on_restart=self.restarts.append,
            on_end=lambda _kernel, forget: self.ends.append(forget),
        )
        self.file = folder / "kernel.json"

    @property
    def process(self):
        return self.kernel.manager.provisioner.pid

    async def start(self, timeout=30):
        await self.lifecycle.start(timeout=timeout, arguments={"env": dict(os.environ), "kernel_id": ID})


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a scenario with a new kernel and ends everything afterwards."""

    def run_scenario(scenario, argv=IPYKERNEL, *, seconds=30, restart_limit=5, stable_start_time=10.0):
        options = LifecycleOptions(
            launch_timeout=seconds,
            max_launch_timeout=seconds,
            kernel_info_timeout=seconds,
            restart_limit=restart_limit,
            stable_start_time=stable_start_time,
        )

        async def scene():
            made = Made(tmp_path, argv, options)
            try:
                return await scenario(made)
            finally:
                await made.lifecycle.shutdown()
                made.context.destroy(linger=0)

        return asyncio.run(scene())

    return run_scenario


def test_a_start_without_a_free_port_is_refused_for_now_in_words(run):
    async def scenario(made):
        manager = made.kernel.manager
        ports = LocalPorts("0..0", ephemeral=ephemeral_range(), is_free=lambda _port: False)
        manager.provisioner = GatewayLocalProvisioner(ports=ports, kernel_id=ID, kernel_spec=manager.kernel_spec, parent=manager)
        with pytest.raises(Unavailable, match="No port that kernels may use is free"):
            await made.start()
        assert not made.file.exists()

    run(scenario)


def test_a_started_kernel_is_idle_and_encrypted_and_its_end_leaves_nothing(run):
    async def scenario(made):
        await made.start()
        assert (made.kernel.execution_state, made.kernel.link.curve) == ("idle", True)
        pid = made.process
        await made.lifecycle.shutdown(reason="Done.")
        assert not psutil.pid_exists(pid)
        assert not made.file.exists()
        return made.kernel.told

    assert run(scenario) == [("dead", "Done.")]


def test_a_restart_gives_a_new_process_and_is_noted(run):
    async def scenario(made):
        await made.start()
        before = made.process
        await made.lifecycle.restart()
        assert made.process != before
        assert not psutil.pid_exists(before)
        return list(made.kernel.told), made.restarts, made.kernel.execution_state

    told, restarts, state = run(scenario)
    assert told == [("restarting", None), ("restarted", None)]
    assert (restarts, state) == ([False], "idle")


def test_a_kernel_whose_restart_never_ends_is_shut_down_at_once(run, tmp_path):
    code = f"""
import os, pathlib, sys, time
begun = pathlib.Path({str(tmp_path / "begun")!r})
if begun.exists():
    begun.with_name("again").touch()
    time.sleep(600)
begun.touch()
os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *sys.argv[1:]])
"""

    async def scenario(made):
        await made.start()
        restart = asyncio.create_task(made.lifecycle.restart())
        while not (tmp_path / "again").exists():
            await asyncio.sleep(0.01)
        async with asyncio.timeout(15):
            await made.lifecycle.shutdown()
            with pytest.raises(LaunchFailed, match="has been shut down"):
                await restart
        return made.kernel.execution_state, made.kernel.manager.has_kernel

    assert run(scenario, [sys.executable, "-c", code, "-f", "{connection_file}"], seconds=60) == ("dead", False)


def test_a_restart_has_the_time_that_the_start_had(run):
    async def scenario(made):
        await made.start(timeout=30)
        await made.lifecycle.restart()
        assert made.kernel.execution_state == "idle"

    run(scenario, seconds=0.01)


def test_a_start_and_a_restart_hand_their_deadlines_down(run):
    async def scenario(made):
        await made.start(timeout=30)
        first = made.kernel.manager.launch_deadline
        await made.lifecycle.restart()
        return first, made.kernel.manager.launch_deadline

    first, second = run(scenario, seconds=0.01)
    assert (first.seconds, second.seconds) == (30, 30)
    assert second is not first


def test_a_kernel_that_dies_is_started_again_and_its_clients_are_told_why(run):
    async def scenario(made):
        await made.start()
        os.kill(made.process, signal.SIGKILL)
        await made.kernel.until("restarted")
        return made.kernel.told[0], made.restarts, made.kernel.reason

    (event, reason), restarts, left = run(scenario)
    assert (event, restarts, left) == ("restarting", [True], None)
    assert reason.startswith("The kernel was ended by SIGKILL.")


def test_a_kernel_that_dies_too_often_is_given_up_with_the_reason(run):
    async def scenario(made):
        await made.start()
        for expected in ("restarted", "dead"):
            os.kill(made.process, signal.SIGKILL)
            await made.kernel.until(expected)
        await asyncio.sleep(0)
        return [name for name, _ in made.kernel.told], made.kernel.model(), made.ends

    told, model, ends = run(scenario, restart_limit=1, stable_start_time=3600)
    assert told[:3] == ["restarting", "restarted", "dead"]
    assert (model["execution_state"], ends) == ("dead", [False])
    assert "SIGKILL" in model["reason"]


def test_a_program_that_ends_before_it_can_be_used_fails_the_start_at_once_with_its_words(run):
    async def scenario(made):
        with pytest.raises(LaunchFailed, match=r"status 3. It last wrote: the reason"):
            await made.start()
        assert not made.file.exists()

    run(scenario, [sys.executable, "-c", "import sys; sys.stderr.write('the reason'); sys.exit(3)"])


def test_a_program_that_never_answers_is_ended_at_the_timeout(run):
    async def scenario(made):
        with pytest.raises(LaunchTimeout, match=r"waited too long \(1s\)"):
            await made.start(timeout=1)
        assert not psutil.pid_exists(made.process)

    run(scenario, [sys.executable, "-c", "import time; time.sleep(600)"])


def test_a_cancelled_start_leaves_no_process(run):
    async def scenario(made):
        task = asyncio.create_task(made.start())
        while made.process is None:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not psutil.pid_exists(made.process)

    run(scenario)


def test_interrupting_what_is_not_running_is_said(run):
    async def scenario(made):
        with pytest.raises(Conflict, match="isn't running"):
            await made.lifecycle.interrupt()

    run(scenario)


def test_a_second_shutdown_does_nothing(run):
    async def scenario(made):
        await made.start()
        await asyncio.gather(made.lifecycle.shutdown(reason="first"), made.lifecycle.shutdown(reason="second"))
        return made.kernel.told

    assert run(scenario) == [("dead", "first")]


def test_a_supervision_that_loses_a_cancellation_is_ended_all_the_same(run, monkeypatch):
    monkeypatch.setattr("enterprise_gateway.kernels.lifecycle._CANCEL_AGAIN_SECONDS", 0)

    async def scenario(made):
        await made.start()
        lost = []

        async def supervise():
            while len(lost) < 3:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    lost.append(True)

        await made.lifecycle._end_supervision()
        made.lifecycle._begin(supervise())
        await asyncio.sleep(0)
        await made.lifecycle.shutdown()
        return len(lost)

    assert run(scenario) == 3
