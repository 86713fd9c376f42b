"""How a gateway comes to the kernels of its cluster."""

import asyncio
from types import SimpleNamespace

import pytest
from jupyter_client.kernelspec import KernelSpec

from enterprise_gateway import gateway as module
from enterprise_gateway.errors import KubernetesUnavailable, NotSupported
from enterprise_gateway.event_loop import EventLoopMonitor
from enterprise_gateway.gateway import Gateway
from enterprise_gateway.kernels.kernel import ExecutionState
from enterprise_gateway.readiness import Readiness
from enterprise_gateway.replicas.cluster_sync import ClusterSync

IN_PODS = SimpleNamespace(spec=KernelSpec(metadata={"kernel_provisioner": {"provisioner_name": "kubernetes"}}))
HERE = SimpleNamespace(spec=KernelSpec())


class Parts:
    """A gateway's parts, as far as finding kernels needs them."""

    def __init__(self, mode, *kernelspecs):
        self.settings = SimpleNamespace(port=0)
        self.kernels = SimpleNamespace(draining=False)
        self.cluster = SimpleNamespace(mode=mode, problems=list, may_exist=mode != "off")
        self.sync = ClusterSync(cluster=self.cluster, loss_grace=60)
        self.readiness = Readiness(kernels=self.kernels, sync=self.sync, cluster=self.cluster)
        self.catalogue, self.adoption = self, self
        self.kernelspecs, self.failures, self.begun = list(kernelspecs), [], 0

    async def all(self):
        return dict(enumerate(self.kernelspecs))

    async def begin(self):
        if self.failures:
            raise self.failures.pop(0)
        self.begun += 1


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0)
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 0)


def found(parts, meanwhile=lambda: None):
    """Return how often the cluster's kernels were found, and whether the gateway was ready before and is now."""

    async def scenario():
        gateway = Gateway(parts=parts)
        finding = asyncio.create_task(gateway._find_kernels())
        for _ in range(10):
            await asyncio.sleep(0)
        before = parts.readiness.kernels_found
        meanwhile()
        for _ in range(20):
            await asyncio.sleep(0)
        finding.cancel()
        await asyncio.gather(finding, return_exceptions=True)
        return parts.begun, before, parts.readiness.kernels_found

    return asyncio.run(scenario())


@pytest.mark.parametrize(("mode", "kernelspec"), [("auto", HERE), ("off", IN_PODS)])
def test_a_gateway_that_needs_no_cluster_is_ready_without(mode, kernelspec):
    assert found(Parts(mode, kernelspec)) == (0, True, True)


@pytest.mark.parametrize(("mode", "kernelspec"), [("auto", IN_PODS), ("on", HERE)])
def test_a_gateway_that_needs_a_cluster_finds_its_kernels(mode, kernelspec):
    assert found(Parts(mode, kernelspec)) == (1, True, True)


def test_a_kernelspec_for_pods_that_comes_later_brings_the_clusters_kernels():
    parts = Parts("auto", HERE)
    assert found(parts, lambda: parts.kernelspecs.append(IN_PODS)) == (1, True, True)


def test_a_gateway_whose_cluster_doesnt_answer_isnt_ready_until_it_does():
    parts = Parts("auto", IN_PODS)
    parts.failures = [KubernetesUnavailable("away", kind="Pod")] * 1000
    assert found(parts, parts.failures.clear) == (1, False, True)


def test_a_gateway_is_ready_again_only_when_the_clusters_kernels_are_known_though_it_was_ready_without():
    parts = Parts("auto", HERE)
    readiness = parts.readiness
    readiness.kernels_found = readiness.kernelspecs_read = True
    parts.sync.not_needed()
    assert readiness.problems() == []
    parts.sync.begin()
    assert readiness.problems() == ["the kernels of the cluster haven't been found yet"]
    parts.sync.finish()
    assert readiness.problems() == []


def test_a_gateway_that_needs_no_cluster_lists_its_kernels_at_once():
    parts = Parts("auto", HERE)
    found(parts)
    parts.sync.check()


def test_kernels_are_looked_for_again_whatever_kept_them_from_being_found(caplog):
    parts = Parts("on")
    parts.failures = [ValueError("nobody foresaw it")]
    assert found(parts) == (1, True, True)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert str(record.exc_info[1]) == "nobody foresaw it"


@pytest.mark.parametrize("essential", [True, False])
def test_a_part_that_an_error_ends_is_logged_and_keeps_the_gateway_from_being_ready_where_it_is_essential(essential, caplog):
    async def breaks():
        raise ValueError("nobody foresaw it")

    async def scenario():
        gateway = Gateway(parts=Parts("off"))
        gateway._spawn(breaks(), "it", essential=essential)
        await asyncio.wait(gateway._tasks)
        await asyncio.sleep(0)
        return "a part of the gateway was ended by an error: it" in gateway._parts.readiness.problems()

    assert asyncio.run(scenario()) is essential
    assert [(record.part, str(record.exc_info[1])) for record in caplog.records] == [("it", "nobody foresaw it")]


def test_where_there_is_no_cluster_local_kernels_work_all_the_same():
    parts = Parts("auto", IN_PODS)
    parts.failures = [NotSupported("there is none")]
    assert found(parts) == (0, True, True)


@pytest.mark.parametrize(
    ("outlives_gateway", "state", "waits_for", "waits"),
    [
        (True, "busy", "", True),
        (True, "idle", "delivering", True),
        (True, "starting", "holding", True),
        (True, "idle", "", False),
        (False, "busy", "delivering", False),
    ],
    ids=[
        "cell in a pod",
        "output of a pod that a client is yet to get",
        "cell that waits for its pod",
        "pod at rest",
        "cell of this machine",
    ],
)
def test_a_gateway_that_ends_waits_for_cells_that_go_on_without_it(outlives_gateway, state, waits_for, waits):
    parts = Parts("off")
    link = SimpleNamespace(delivering=waits_for == "delivering", holding=waits_for == "holding")
    kernel = SimpleNamespace(outlives_gateway=outlives_gateway, execution_state=ExecutionState(state), link=link)
    parts.kernels.table = SimpleNamespace(find={"1": SimpleNamespace(kernel=kernel)}.get)
    gateway = Gateway(parts=parts)
    assert gateway._worth_waiting_for("1") is waits
    assert gateway._worth_waiting_for("2") is False


class Draining(Parts):
    """Parts that end at once, but for the websockets, which take as long as a test likes."""

    def __init__(self):
        super().__init__("off")
        self.settings, self.health, self.closed = SimpleNamespace(port=0, drain_timeout=1), None, asyncio.Event()
        self.event_loop = EventLoopMonitor()
        self.server = SimpleNamespace(stop=lambda: None, close_all_connections=self.nothing)
        self.cluster = SimpleNamespace(step_down=self.nothing, close=self.nothing)
        self.connections = SimpleNamespace(close_idle=self.nothing, close_all=self.closed.wait)
        self.upkeep = SimpleNamespace(flush=self.nothing)
        self.context = SimpleNamespace(destroy=lambda **_: None)

        class Kernels(list):
            draining, shutdown_all = False, self.nothing

            def refuse_waiting(self):
                pass

        self.kernels = Kernels()

    async def nothing(self, *_, **__):
        pass


def test_a_gateway_that_drains_is_watched_to_the_end_so_that_it_counts_as_alive():
    async def scenario():
        parts = Draining()
        gateway = Gateway(parts=parts)
        other = gateway._spawn(asyncio.Event().wait(), "something else")
        gateway._watching = gateway._spawn(parts.event_loop.run(), "watch the event loop")
        stopping = asyncio.create_task(gateway.stop())
        while not parts.kernels.draining or not other.done():
            await asyncio.sleep(0)
        assert not gateway._watching.done()
        parts.closed.set()
        await stopping
        assert gateway._watching.done()

    asyncio.run(scenario())
