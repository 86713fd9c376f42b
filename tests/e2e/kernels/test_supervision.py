"""What process 1 of a kernel's pod does for it, and what to write for images whose process 1 is the kernel itself."""

import asyncio
import json
import signal
import time

import pytest

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(180),
    # An event loop that ends at once leaves TLS connections and jupyter_client's own context to the garbage collector.
    pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning"),
]

USER = {"KERNEL_USERNAME": "alice", "KERNEL_CPUS": "0.05"}

CHILD = """
import subprocess, time
c = subprocess.Popen(['sleep', '600'])
print('begun', flush=True)
time.sleep(60)
"""
POOL = """
import concurrent.futures, multiprocessing, os, time
def work(begun):
    begun.set()
    time.sleep(60)
context = multiprocessing.get_context('fork')
with context.Manager() as shared, concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
    begun = [shared.Event() for _ in range(2)]
    jobs = [pool.submit(work, event) for event in begun]
    for event in begun:
        event.wait()
    print('begun', flush=True)
    [job.result() for job in jobs]
"""
ZOMBIES = """
import os, pathlib, subprocess, time
for _ in range(20):
    subprocess.run(['sh', '-c', 'sleep 0.01 & exit 0'], check=True)
time.sleep(0.5)
states = [(entry / 'stat').read_text().rpartition(')')[2].split()[0] for entry in pathlib.Path('/proc').glob('[0-9]*')]
print(states.count('Z'))
"""
PLAIN = ["/opt/kernel/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
SHARED_PROCESSES = """
kind: Pod
spec:
  shareProcessNamespace: true
  securityContext:
    {runAsNonRoot: true, runAsUser: 1000, runAsGroup: 100, fsGroup: 100, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: kernel
    image: {{ kernel_image }}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""

PODS = {
    "launch-kernel": {},
    "launch-kernel with a command": {"argv": ["launch-kernel", "--", *PLAIN]},
    # Not the first process then, and no orphan's next parent without having asked for that.
    "launch-kernel with shared processes": {"template": SHARED_PROCESSES},
    "ipykernel with shared processes": {
        "argv": PLAIN,
        "template": SHARED_PROCESSES,
        # With keys it writes its connection file anew, which is mounted read-only.
        "metadata": {"supported_encryption": []},
    },
}


async def interrupted(manager, client, code):
    """Return how a cell ended that was interrupted once it ran, and how many seconds later."""
    begun = asyncio.Event()

    def hook(message):
        if message["msg_type"] == "stream" and "begun" in message["content"]["text"]:
            begun.set()

    running = asyncio.create_task(client.execute_interactive(code, output_hook=hook, timeout=60))
    await begun.wait()
    # Python begins to sleep without a look at the signals that came just before, and sleeps all of its time then.
    await asyncio.sleep(1)
    interrupted_at = time.monotonic()
    await manager.interrupt_kernel()
    reply = await running
    return reply["content"].get("ename"), time.monotonic() - interrupted_at


@pytest.mark.parametrize("kind", PODS)
def test_an_interrupt_reaches_what_the_kernel_runs_and_no_zombie_stays(kernels, kind):
    async def run():
        async with kernels.services() as services:
            manager = kernels.manager(services, **PODS[kind])
            await manager.start_kernel(env=USER)
            async with kernels.connected(manager) as client:
                ended, seconds = await interrupted(manager, client, CHILD)
                print(f"{kind}: a child process: {seconds:.3f} s")
                assert ended == "KeyboardInterrupt"
                assert seconds < 30
                assert (await kernels.execute(client, "c.wait()"))[0] == str(-signal.SIGINT)
                ended, seconds = await interrupted(manager, client, POOL)
                print(f"{kind}: a worker pool: {seconds:.3f} s")
                assert seconds < 30
                assert ended is not None
                assert (await kernels.execute(client, ZOMBIES))[0] == "0"
            await manager.shutdown_kernel(now=True)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "words", "status"),
    [
        ("import os; os._exit(7)", "The kernel exited with status 7.", 7),
        ("import ctypes; ctypes.string_at(0)", "The kernel was ended by SIGSEGV.", 139),
        ("x = bytearray(1024 ** 3)", "OOMKilled, it used more than its limit (150Mi). Its container used 1", 137),
    ],
)
def test_the_end_of_a_kernel_is_told_by_its_supervisor(kernels, code, words, status):
    async def run():
        async with kernels.services() as services:
            manager = kernels.manager(services)
            await manager.start_kernel(env={**USER, "KERNEL_MEMORY_LIMIT": "150Mi"})
            async with kernels.connected(manager) as client:
                client.execute(code)
                assert words in await manager.provisioner.wait_for_exit()
            pods = json.loads(kernels.kubectl("get", "pods", "-A", "-l", f"kernel_id={manager.kernel_id}", "-o", "json"))
            (container,) = pods["items"][0]["status"]["containerStatuses"]
            assert container["state"]["terminated"]["exitCode"] == status
            await manager.shutdown_kernel(now=True)

    asyncio.run(run())
