import asyncio
import time
from datetime import UTC, datetime

import pytest
from jupyter_client.manager import AsyncKernelManager
from tests.support.cells import WAITS_FOR_AN_INTERRUPT
from tests.support.installation import address_for_pods

from enterprise_gateway.errors import GatewayError, KubernetesError, LaunchFailed, PolicyViolation
from enterprise_gateway.provisioners.kubernetes import KubernetesProvisioner
from enterprise_gateway.provisioners.phone_home import ResponseListener
from enterprise_gateway_common import labels

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(180),
    # An event loop that ends at once leaves TLS connections and jupyter_client's own context to the garbage collector.
    pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning"),
]

USER = {"KERNEL_USERNAME": "alice", "KERNEL_CPUS": "0.05"}


def scenario(test):
    """Run an asynchronous test in a loop of its own."""

    def run(kernels):
        asyncio.run(test(kernels))

    run.__name__ = test.__name__
    return run


@scenario
async def test_a_kernel_answers_is_interrupted_restarts_and_leaves_nothing(kernels):
    async with kernels.services() as services:
        manager = kernels.manager(services)
        await manager.start_kernel(env={**USER, "KERNEL_FOO": "$(HOME) $$"})
        async with kernels.connected(manager) as client:
            printed, _ = await kernels.execute(client, "import os; print(os.getuid(), os.environ['KERNEL_FOO'])")
            assert printed == "1000 $(HOME) $$"
            began = time.monotonic()
            sleeping = asyncio.create_task(kernels.execute(client, WAITS_FOR_AN_INTERRUPT))
            await asyncio.sleep(1)
            await manager.interrupt_kernel()
            assert (await sleeping)[1] == "error"
            assert time.monotonic() - began < 10
        before = manager.ip
        await manager.restart_kernel(now=True)
        assert manager.ip != before
        async with kernels.connected(manager) as client:
            assert (await kernels.execute(client, "6 * 7"))[0] == "42"
        await manager.shutdown_kernel(now=True)
        await kernels.nothing_left()


@scenario
async def test_a_kernel_outlives_its_gateway_and_the_next_one_finds_its_variables(kernels):
    async with kernels.services() as services:
        manager = kernels.manager(services)
        await manager.start_kernel(env=USER)
        async with kernels.connected(manager) as client:
            await kernels.execute(client, "x = 'still here'")
    async with kernels.services() as services:
        (record,) = (await services.store.records()).values()
        assert (record.kernel_id, record.username) == (manager.kernel_id, "alice")
        adopted = kernels.manager(services)
        adopted.provisioner = KubernetesProvisioner(
            services=services, kernel_id=record.kernel_id, kernel_spec=adopted.kernel_spec, parent=adopted
        )
        adopted.provisioner.pods.follow(record.pod)
        adopted.provisioner.adopt(record)
        adopted._reconcile_connection_info(adopted.provisioner.connection_info)
        async with kernels.connected(adopted) as client:
            assert (await kernels.execute(client, "print(x)"))[0] == "still here"
        assert await adopted.is_alive()
        await adopted.shutdown_kernel(now=True)
        await kernels.nothing_left()


@scenario
async def test_polling_costs_no_call(kernels):
    async with kernels.services() as services:
        manager = kernels.manager(services)
        await manager.start_kernel(env=USER)
        calls, call = [], services.client._call

        async def counted(*arguments, **options):
            calls.append(arguments)
            return await call(*arguments, **options)

        services.client._call = counted
        for _ in range(100):
            assert await manager.is_alive()
        assert calls == []
        await manager.shutdown_kernel(now=True)


@pytest.mark.parametrize(
    ("change", "environment", "words"),
    [
        ({}, {"KERNEL_IMAGE": "elyra/does-not-exist:1"}, "not found"),
        ({"argv": ["no-such-program"]}, {}, "no-such-program"),
        ({"argv": ["python3", "-c", "raise SystemExit('the launcher is broken')"]}, {}, "the launcher is broken"),
        ({"argv": ["sh", "-c", "echo it is broken and hides it; exit 0"]}, {}, "last wrote: it is broken and hides it"),
        ({}, {"KERNEL_CPUS": "4000"}, "nodes are available"),
        ({"argv": ["sleep", "600"], "template": "not a pod"}, {}, "no object"),
    ],
)
def test_a_start_that_cant_work_says_why_within_seconds_and_leaves_nothing(kernels, change, environment, words):
    async def run():
        async with kernels.services() as services:
            manager = kernels.manager(services, **change)
            began = time.monotonic()
            with pytest.raises(LaunchFailed) as failure:
                await manager.start_kernel(env={**USER, **environment})
            assert words in str(failure.value)
            assert time.monotonic() - began < 20
            await kernels.nothing_left(manager.kernel_id)

    asyncio.run(run())


@scenario
async def test_what_isnt_allowed_is_refused_before_anything_exists(kernels):
    async with kernels.services() as services:
        manager = kernels.manager(services)
        with pytest.raises(PolicyViolation):
            await manager.start_kernel(env={**USER, "KERNEL_NAMESPACE": "kube-system"})
        assert kernels.left() == []


@scenario
async def test_a_start_that_is_cancelled_leaves_nothing(kernels):
    async with kernels.services() as services:
        for seconds in (0.02, 0.05, 0.1, 0.3):
            manager = kernels.manager(services)
            start = asyncio.create_task(manager.provisioner.launch_kernel(["sleep", "60"], env=USER))
            await asyncio.wait({start}, timeout=seconds)
            start.cancel()
            with pytest.raises(asyncio.CancelledError):
                await start
            await kernels.nothing_left(manager.kernel_id)


@scenario
async def test_a_kernel_that_runs_out_of_memory_says_so(kernels):
    async with kernels.services() as services:
        manager = kernels.manager(services)
        await manager.start_kernel(env={**USER, "KERNEL_MEMORY_LIMIT": "150Mi"})
        async with kernels.connected(manager) as client:
            client.execute("x = bytearray(1024 ** 3)")
            words = await manager.provisioner.wait_for_exit()
        assert "OOMKilled" in words
        assert "150Mi" in words
        await manager.shutdown_kernel(now=True)


@scenario
async def test_a_pod_that_is_deleted_by_hand_is_noticed_within_seconds(kernels):
    async with kernels.services() as services:
        manager = kernels.manager(services)
        await manager.start_kernel(env=USER)
        async with kernels.connected(manager):
            began = time.monotonic()
            kernels.kubectl("delete", "pod", "-A", "-l", f"kernel_id={manager.kernel_id}", "--wait=false")
            await manager.provisioner.wait_for_exit()
            assert time.monotonic() - began < 5
        await manager.shutdown_kernel(now=True)
        await kernels.nothing_left()


@scenario
async def test_a_kernel_that_phones_home_answers_and_is_interrupted(kernels):
    address = address_for_pods()
    responses = ResponseListener(advertised_ip=address, port=0)
    await responses.start()
    arguments = ("response-address", "public-key", "port-range")
    argv = ["launch-kernel", "--RemoteProcessProxy.kernel-id", "{kernel_id}"]
    argv += [part for name in arguments for part in (f"--RemoteProcessProxy.{name}", "{" + name.replace("-", "_") + "}")]
    try:
        async with kernels.services(responses=responses) as services:
            manager = kernels.manager(services, argv=argv, metadata={"supported_encryption": []})
            await manager.start_kernel(env=USER)
            async with kernels.connected(manager) as client:
                sleeping = asyncio.create_task(kernels.execute(client, "import time; time.sleep(60)"))
                await asyncio.sleep(1)
                await manager.provisioner.send_signal(2)
                assert (await sleeping)[1] == "error"
                assert (await kernels.execute(client, "6 * 7"))[0] == "42"
            (record,) = (await services.store.records()).values()
            assert record.connection_info["shell_port"] == manager.shell_port
            await manager.shutdown_kernel(now=True)
            await kernels.nothing_left()
    finally:
        await responses.stop()


@scenario
async def test_a_kernel_runs_on_a_read_only_root_as_any_user(kernels):
    template = """
kind: Pod
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 123456, runAsGroup: 654321, fsGroup: 654321}
  containers:
  - name: kernel
    image: {{ kernel_image }}
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""
    async with kernels.services() as services:
        manager = kernels.manager(services, template=template)
        await manager.start_kernel(env=USER)
        async with kernels.connected(manager) as client:
            assert (await kernels.execute(client, "import os; os.getuid()"))[0] == "123456"
        await manager.shutdown_kernel(now=True)


def test_a_plain_manager_starts_a_kernel_by_the_entry_point_with_the_gateways_settings(kernels, monkeypatch):
    settings = {"EG_INSTANCE": kernels.instance, "EG_ENV_PROCESS_WHITELIST": "TZ", "EG_PROHIBITED_UIDS": "0,1234"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    own = {"WHO": "${KERNEL_USERNAME} $KERNEL_ID", "HOME": "/dev/shm", "KERNEL_UID": "1234"}  # noqa: S108  a folder of the pod
    given = {**USER, "TZ": "Asia/Tokyo", "SECRET_OF_THE_SERVER": "topsecret"}
    code = "import os; print(os.getuid(), *map(os.environ.get, ('WHO', 'HOME', 'TZ', 'SECRET_OF_THE_SERVER')))"

    async def run():
        async with kernels.services() as services:
            made = kernels.manager(services, env=own)
        manager = AsyncKernelManager(kernel_name=made.kernel_name, kernel_spec_manager=made.kernel_spec_manager)
        await manager.start_kernel(env=given)
        async with kernels.connected(manager) as client:
            printed = f"1234 alice {manager.kernel_id} /dev/shm Asia/Tokyo None"
            assert (await kernels.execute(client, code))[0] == printed
        await manager.shutdown_kernel(now=True)
        refused = AsyncKernelManager(kernel_name=made.kernel_name, kernel_spec_manager=made.kernel_spec_manager)
        with pytest.raises(PolicyViolation, match="KERNEL_UID 1234"):
            await refused.start_kernel(env={**given, "KERNEL_UID": "1234"})
        await kernels.nothing_left()

    asyncio.run(run())


@scenario
async def test_a_start_whose_nth_call_fails_leaves_nothing(kernels):
    """Each call of a start in turn takes effect and its answer is a failure: the worst of both."""
    async with kernels.services() as services:
        send, start = services.client._send, asyncio.current_task()
        number, calls, failed = 0, [], False

        async def faulty(method, resource, **options):
            nonlocal failed
            response = await send(method, resource, **options)
            # Watches, and what takes the objects away again, run in tasks of their own.
            if asyncio.current_task() is start and not failed:
                calls.append(f"{method} {resource}")
                if len(calls) == number:
                    failed = True
                    response.close()
                    raise KubernetesError("injected", kind="call")
            return response

        services.client._send = faulty
        while True:
            number, failed = number + 1, False
            calls.clear()
            manager = kernels.manager(services)
            words = ""
            try:
                await manager.start_kernel(env=USER)
            except GatewayError as error:
                words = error.message
            assert failed == bool(words), f"call {number} of {calls}: {words}"
            if not failed:
                services.client._send = send
                break
            assert "injected" in words
            await kernels.nothing_left(manager.kernel_id)
        await manager.shutdown_kernel(now=True)
        await kernels.nothing_left()
        # Namespace, Secret, pod, and the Secret once more, which the pod then owns; every one of them has failed.
        assert len(calls) == number - 1
        assert [call.split()[0] for call in calls][:3] == ["POST"] * 3
        assert calls[-1].startswith("PATCH")


@scenario
async def test_the_built_in_pod_runs_under_the_restricted_standard_and_a_quota_speaks(kernels):
    namespace = f"{kernels.instance}-team"
    kernels.kubectl("create", "namespace", namespace)
    try:
        kernels.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        async with kernels.services(shared_namespace=namespace) as services:
            manager = kernels.manager(services)
            await manager.start_kernel(env=USER)
            await manager.shutdown_kernel(now=True)
            await kernels.nothing_left()
            kernels.kubectl("get", "namespace", namespace)
            loose = "kind: Pod\nspec: {containers: [{name: kernel, image: '{{ kernel_image }}'}]}"
            with pytest.raises(LaunchFailed, match="violates PodSecurity"):
                await kernels.manager(services, template=loose).start_kernel(env=USER)
            kernels.kubectl("-n", namespace, "create", "quota", "none", "--hard=pods=0")
            # A quota counts from when its controller has written what is used.
            in_force = "--for=jsonpath={.status.hard.pods}=0"
            kernels.kubectl("-n", namespace, "wait", "resourcequota/none", in_force, "--timeout=60s")
            with pytest.raises(LaunchFailed, match="exceeded quota: none"):
                await kernels.manager(services).start_kernel(env=USER)
            await kernels.nothing_left()
    finally:
        kernels.kubectl("delete", "namespace", namespace, "--wait=false")


@scenario
async def test_what_a_gateway_left_that_died_in_a_start_is_taken_away(kernels):
    async with kernels.services() as services:
        manager = kernels.manager(services)
        await manager.start_kernel(env=USER)
        label = f"app.kubernetes.io/instance={kernels.instance}"
        kernels.kubectl("create", "namespace", f"{kernels.instance}-orphan")
        marks = [label, "app=enterprise-gateway", "component=kernel", "kernel_id=orphan"]
        kernels.kubectl("label", "namespace", f"{kernels.instance}-orphan", *marks)
        taken = await services.store.collect_orphans(older_than=-60, now=datetime.now(UTC), answering={manager.kernel_id})
        assert taken == [f"Namespace {kernels.instance}-orphan"]
        assert await manager.is_alive()
        await manager.shutdown_kernel(now=True)
        await kernels.nothing_left()


@scenario
async def test_a_kernel_that_is_found_to_be_lost_isnt_alive(kernels):
    async with kernels.services() as services:
        manager = kernels.manager(services)
        await manager.start_kernel(env=USER)
        assert await manager.is_alive()
        await services.store.mark(manager.provisioner.pods.state, {labels.LOSS_ANNOTATION: "2026-01-01T00:00:00Z"})
        assert "doesn't answer any more, nor does the kernel itself" in await manager.provisioner.wait_for_exit()
        assert not await manager.is_alive()
        await manager.shutdown_kernel(now=True)
        await kernels.nothing_left()
