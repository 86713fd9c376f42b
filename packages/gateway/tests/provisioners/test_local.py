import asyncio
import os
import sys
from contextlib import suppress

import psutil

from enterprise_gateway.provisioners.local import GatewayLocalProvisioner
from enterprise_gateway.provisioners.local_ports import LocalPorts


def run_process(code):
    """Return why a process that runs `code` ended, and the provisioner."""

    async def run():
        provisioner = GatewayLocalProvisioner(ports=LocalPorts("0..0", ephemeral=range(0)), kernel_id="1", kernel_spec=None)
        await provisioner.launch_kernel([sys.executable, "-c", code], env=dict(os.environ), kernel_headers={"X": "y"})
        try:
            return await asyncio.wait_for(provisioner.wait_for_exit(), 20), provisioner.pgid
        finally:
            await provisioner.cleanup(restart=False)
            await provisioner.wait()

    return asyncio.run(run())


def test_the_end_of_a_process_is_told_with_its_last_line():
    words, _ = run_process("import sys; print('first'); print('the reason', file=sys.stderr); sys.exit(3)")
    assert words.startswith("The kernel exited with status 3. It last wrote: ")
    assert "the reason" in words or "first" in words


def test_a_client_is_not_told_where_things_lie_on_this_machine():
    words, _ = run_process("import sys; sys.stderr.write('/opt/secret/place/python: No module named x'); sys.exit(1)")
    assert words.endswith("It last wrote: python: No module named x")


def test_a_process_that_writes_more_than_a_pipe_holds_is_not_held_up():
    words, _ = run_process("print('x' * 1_000_000)")
    assert words.startswith("The kernel exited with status 0.")


def test_what_the_kernel_started_does_not_outlive_it():
    words, _ = run_process(
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    )
    started = int(words.rpartition(" ")[2])
    with suppress(psutil.NoSuchProcess):
        psutil.Process(started).wait(timeout=10)
    assert not psutil.pid_exists(started)
