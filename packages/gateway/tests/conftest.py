"""What several folders of tests use: how many examples a property is tried with, and kernels that nobody starts.

HYPOTHESIS_PROFILE=thorough tries ten thousand examples of each property, else a few hundred.
"""

import asyncio
import json
import os

import pytest
import zmq
import zmq.asyncio
from hypothesis import HealthCheck, settings
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.errors import LaunchFailed
from enterprise_gateway.identity import ANONYMOUS
from enterprise_gateway.kernels.admission import AdmissionControl
from enterprise_gateway.kernels.culling import CullingRules
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.limits import KernelLimits
from enterprise_gateway.kernels.manager import GatewayKernelManager
from enterprise_gateway.kernels.registry import Kernels
from enterprise_gateway.kernels.requests import StartRequest
from enterprise_gateway.kernels.rules import KernelRules, RulesInForce
from enterprise_gateway.kernels.starts import KernelStarts
from enterprise_gateway.kernels.table import KernelTable
from enterprise_gateway.kernelspecs.authorization import UserLists
from enterprise_gateway.kernelspecs.catalogue import Kernelspec, KernelspecCatalogue
from enterprise_gateway.launch.environment import EnvironmentBounds, EnvironmentRules
from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway.replicas.objections import Objections
from enterprise_gateway.replicas.replicated_kernels import ReplicatedKernels
from enterprise_gateway.replicas.upkeep import Upkeep

# Large values are among the hostile ones on purpose, and a deadline for one example is meaningless on a loaded machine.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.data_too_large, HealthCheck.too_slow]}

settings.register_profile("quick", max_examples=200, **_COMMON)
settings.register_profile("thorough", max_examples=10_000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "quick")


class Clock:
    """Seconds that go forward when a test says so."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


class LinkCounts:
    """Counts nothing: what links tell is tested beside them."""

    def log_bytes(self, change):
        pass

    def dropped(self, reason):
        raise AssertionError(reason)


@pytest.fixture
def make_kernel(tmp_path, clock):
    """Return a function that makes a kernel which nobody started."""
    context = zmq.Context()

    def make(kernel_id="1", user="alice", name="python3", kernelspec=None, **metadata):
        spec = KernelSpec(argv=["x"], display_name=name, language="python", metadata=metadata)
        manager = GatewayKernelManager(
            gateway_spec=spec,
            connection_file=str(tmp_path / f"{kernel_id}.json"),
            context=zmq.asyncio.Context.shadow(context.underlying),
        )
        return Kernel(
            kernel_id=kernel_id,
            kernelspec=kernelspec or Kernelspec(name, tmp_path, spec, ()),
            user=user,
            manager=manager,
            link=KernelLink(
                kernel_id=kernel_id,
                context=context,
                session=lambda: manager.session,
                options=LinkOptions(),
                metrics=LinkCounts(),
            ),
            clock=clock,
        )

    yield make
    context.destroy(linger=0)


class Supervision:
    """Stands for who tells the other replicas."""

    def __init__(self):
        self.told = []

    async def tell_failure(self, words):
        self.told.append(words)


class Lifecycle:
    """Stands for a kernel's process; a test decides when and how a start ends."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.started = asyncio.Event()
        self.may_be_made = asyncio.Event()
        self.may_be_made.set()
        self.may_finish = asyncio.Event()
        self.failure = None
        self.ended = False
        self.arguments = None
        self.supervision = Supervision()
        self.phases = {"process": 0.5}

    async def start(self, *, timeout, arguments):
        self.timeout, self.arguments = timeout, arguments
        self.started.set()
        try:
            await self.may_be_made.wait()
            self.kernel.manager.launch_progress.made()
            await self.may_finish.wait()
        except asyncio.CancelledError:
            self.ended = True
            raise
        if self.failure:
            await self.kernel.manager.launch_progress.fails(self.failure)
            raise LaunchFailed(self.failure)
        self.kernel.started()

    async def shutdown(self, *, reason=None):
        self.ended = True
        self.kernel.dead(reason)

    async def restart(self):
        self.kernel.restarting(None)
        self.kernel.restarted()

    async def interrupt(self):
        self.interrupted = True


class Metrics:
    def __init__(self):
        self.launches, self.culled, self.pending = [], [], []

    def launch_finished(self, kernelspec, seconds, outcome, phases):
        assert seconds >= 0
        self.launches.append((kernelspec, outcome))

    def pending_start_ended(self, outcome):
        self.pending.append(outcome)

    def kernel_culled(self, reason):
        self.culled.append(str(reason))


class NoPeers:
    """There is nobody else."""

    in_order = True

    def owners(self):
        return {}

    async def owners_now(self):
        return {}

    def check_synced(self):
        pass

    async def look_up(self, kernel_id):
        pass

    async def synced(self):
        pass


async def nothing(_kernelspec):
    pass


class Kit:
    """The kernels under test with everything that they were given."""

    def __init__(self, folder, make_kernel, clock, others=None):
        self.metrics, self.forgotten, self.lifecycles, self.clock = Metrics(), [], {}, clock
        self.specs = folder
        self._make_kernel = make_kernel
        self.finish_at_once = self.make_at_once = True
        manager = KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False)
        self.catalogue = KernelspecCatalogue(manager=manager, allowed=frozenset(), max_age=60, clock=clock)
        self.table = KernelTable()
        self.table.on_forgotten(self.forgotten.append)
        self.replicated = ReplicatedKernels(table=self.table)
        self.in_force = RulesInForce(self.rules(), gateway_environment={"PATH": "/bin", "EG_AUTH_TOKEN": "canary"})
        self.admission = AdmissionControl(known=self.table, others=others or NoPeers(), limits=lambda: self.in_force.now.limits)
        self.kernels = self.with_peers(NoPeers(), self._make)

    def with_peers(self, peers, make_kernel):
        common = {"table": self.table, "peers": peers, "admission": self.admission}
        common |= {"rules": self.in_force, "metrics": self.metrics}
        starts = KernelStarts(catalogue=self.catalogue, make_kernel=make_kernel, prepare=nothing, **common)
        return Kernels(starts=starts, **common)

    def start(self, name=None, identity=ANONYMOUS, *, wait=None, **env):
        """Start a kernel for a client that waits for it, or only for some seconds."""
        preferences = {} if wait is None else {"respond_async": True, "wait": wait}
        return self.kernels.start(StartRequest(kernel_name=name, env=env, **preferences), identity)

    async def under_way(self, *, made=True, **request):
        """Return a start that goes on until its lifecycle is told to finish, and that lifecycle."""
        self.finish_at_once, self.make_at_once = False, made
        before = set(self.lifecycles)
        task = asyncio.create_task(self.start(**request))
        while not (new := set(self.lifecycles) - before):
            await asyncio.sleep(0)
        lifecycle = self.lifecycles[new.pop()]
        await lifecycle.started.wait()
        return task, lifecycle

    def upkeep(self):
        return Upkeep(
            cluster=ClusterConnection(mode="off", kubeconfig=None, environment={}, make_services=None),
            kernels=self.kernels,
            replicated=self.replicated,
            objections=Objections(kernels=self.replicated, rules=self.in_force, identity="one"),
            orphan_age=600,
        )

    def rules(self, *, total=None, per_user=-1, idle_timeout=0, pending_starts=False):
        return KernelRules(
            default_kernel_name="python3",
            default_user="nobody",
            launch_timeout=30,
            max_launch_timeout=900,
            pending_starts=pending_starts,
            pending_start_timeout=600,
            users=UserLists(authorized=frozenset(), unauthorized=frozenset({"root"})),
            limits=KernelLimits(total=total, per_user=per_user),
            culling=CullingRules(idle_timeout=idle_timeout, connected=False, busy=False),
            environment=EnvironmentRules(
                client_envs=frozenset(),
                inherited_envs=frozenset(),
                prohibited_uids=frozenset({0}),
                prohibited_gids=frozenset({0}),
                impersonation_enabled=False,
                bounds=EnvironmentBounds(count=128, value_size=65536, total_size=262144),
            ),
        )

    def _make(self, *, kernel_id, kernelspec, user, request):
        kernel = self._make_kernel(kernel_id, user, kernelspec.name, kernelspec)
        kernel.manager.launch_request = request
        lifecycle = self.lifecycles[kernel_id] = Lifecycle(kernel)
        if not self.make_at_once:
            lifecycle.may_be_made.clear()
        if self.finish_at_once:
            lifecycle.may_finish.set()
        return kernel, lifecycle


@pytest.fixture
def kit_type():
    return Kit


@pytest.fixture
def kit(tmp_path, make_kernel, clock):
    for name in ("python3", "other"):
        (tmp_path / "specs" / name).mkdir(parents=True)
        content = {"argv": ["x"], "display_name": name, "language": "python"}
        (tmp_path / "specs" / name / "kernel.json").write_text(json.dumps(content))
    return Kit(tmp_path / "specs", make_kernel, clock)
