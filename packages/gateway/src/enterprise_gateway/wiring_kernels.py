"""Builds what belongs to one kernel: its manager, its provisioner, its state and who looks after it."""

import copy
import functools
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from jupyter_core.paths import jupyter_runtime_dir

from enterprise_gateway.cluster.connection import ClusterConnection
from enterprise_gateway.kernels.kernel import Kernel
from enterprise_gateway.kernels.lifecycle import KernelLifecycle
from enterprise_gateway.kernels.manager import GatewayKernelManager
from enterprise_gateway.kernels.starter import KernelStarter, LifecycleOptions
from enterprise_gateway.kernels.supervision import LocalSupervision, Supervision
from enterprise_gateway.kernelspecs.catalogue import Kernelspec
from enterprise_gateway.launch.request import LaunchRequest
from enterprise_gateway.links.link import KernelLink
from enterprise_gateway.metrics import GatewayMetrics
from enterprise_gateway.provisioners.exits import waiting_words
from enterprise_gateway.provisioners.local import GatewayLocalProvisioner
from enterprise_gateway.provisioners.local_pool import LocalPool
from enterprise_gateway.provisioners.local_ports import LocalPorts, ephemeral_range
from enterprise_gateway.provisioners.process_proxy import KUBERNETES, LOCAL
from enterprise_gateway.provisioners.registry import Provisioners, runs_in_cluster
from enterprise_gateway.replicas.supervision import ReplicatedSupervision
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway.wiring_settings import link_options, log_bounds
from enterprise_gateway_common.executions.recorder import ExecutionRecorder

__all__ = ["KernelMaker"]


class KernelMaker:
    """Makes the objects of one kernel.

    Parameters
    ----------
    context
        ZeroMQ context of all sockets to kernels.
    metrics
        Counts restarts, and what happens on links.
    on_end
        Told of kernels that nobody here has ended.
    cluster
        Where kernels of kernelspecs for pods run.
    processes
        Processes of this machine that wait for a start.
    """

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        context: zmq.Context[Any],
        metrics: GatewayMetrics,
        on_end: Callable[[Kernel, bool], None],
        cluster: ClusterConnection,
        processes: LocalPool,
    ) -> None:
        self._settings = settings
        self._context = context
        # jupyter_client's managers await their own sockets; these share the threads and the limit of all others.
        self._manager_context = zmq.asyncio.Context.shadow(context.underlying)
        self._runtime_dir = Path(jupyter_runtime_dir())
        self._metrics = metrics
        self._link_options = link_options(settings)
        self._log_bounds = log_bounds(settings)
        # The supervisors of all kernels tell this process by it from the other replicas, and from an earlier one of its name.
        self._replica = uuid.uuid4().hex
        self._on_end = on_end
        self._cluster = cluster
        ports = LocalPorts(settings.port_range, ephemeral=ephemeral_range())
        local = functools.partial(GatewayLocalProvisioner, ports=ports, pool=processes)
        self._provisioners = Provisioners(own={LOCAL: local, KUBERNETES: functools.partial(_in_cluster, cluster)})
        self._options = LifecycleOptions(
            launch_timeout=settings.kernel_launch_timeout,
            max_launch_timeout=settings.max_kernel_launch_timeout,
            kernel_info_timeout=settings.kernel_info_timeout,
            restart_limit=settings.restart_limit,
            stable_start_time=settings.stable_start_time,
        )

    def __call__(
        self, *, kernel_id: str, kernelspec: Kernelspec, user: str, request: LaunchRequest | None = None
    ) -> tuple[Kernel, KernelLifecycle]:
        """Return a kernel that hasn't been started; without a request it is one that runs already, and its record tells.

        Raises
        ------
        NotSupported
            Its kernelspec asks for what isn't here.
        """
        self._runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The environment is composed already, with the kernelspec's part in its place; jupyter_client would put that
        # part over the client's once more.
        spec = copy.copy(kernelspec.spec)
        spec.env = {}
        in_cluster = runs_in_cluster(spec)
        manager = GatewayKernelManager(
            gateway_spec=spec,
            runs_here=not in_cluster,
            kernel_name=kernelspec.name,
            connection_file=str(self._runtime_dir / f"kernel-{kernel_id}.json"),
            context=self._manager_context,
            transport_encryption=self._settings.transport_encryption,
            shutdown_wait_time=self._settings.shutdown_wait_time,
        )
        manager.kernel_id, manager.launch_request = kernel_id, request
        manager.supervisor_log = self._log_bounds
        manager.provisioner = self._provisioners.create(kernel_id=kernel_id, kernel_spec=spec, manager=manager)
        kernel = Kernel(
            kernel_id=kernel_id,
            kernelspec=kernelspec,
            user=user,
            manager=manager,
            link=KernelLink(
                kernel_id=kernel_id,
                replica=self._replica,
                context=self._context,
                session=lambda: manager.session,
                options=self._link_options,
                metrics=self._metrics,
                make_recorder=self._recorder,
                words=lambda: waiting_words(manager.provisioner),
            ),
            outlives_gateway=in_cluster,
        )
        manager.control = kernel.link
        return kernel, self._lifecycle(kernel)

    def _recorder(self, clock: Callable[[], float]) -> ExecutionRecorder:
        return ExecutionRecorder(
            max_executions=self._settings.executions_max_count,
            max_bytes=self._settings.executions_max_bytes,
            size_changed=self._metrics.execution_bytes,
            clock=clock,
        )

    def _lifecycle(self, kernel: Kernel) -> KernelLifecycle:
        starter = KernelStarter(kernel=kernel, options=self._options)
        return KernelLifecycle(
            kernel=kernel,
            starter=starter,
            supervision=self._supervision(kernel, starter),
            on_restart=self._metrics.kernel_restarted,
            on_end=self._on_end,
        )

    def _supervision(self, kernel: Kernel, starter: KernelStarter) -> Supervision:
        on_restart = self._metrics.kernel_restarted
        if not kernel.outlives_gateway:
            return LocalSupervision(kernel=kernel, starter=starter, on_restart=on_restart)
        provisioner: Any = kernel.manager.provisioner
        return ReplicatedSupervision(
            kernel=kernel, starter=starter, on_restart=on_restart, provisioner=provisioner, ownership=self._cluster
        )


def _in_cluster(cluster: ClusterConnection, **arguments: Any) -> KernelProvisionerBase:  # noqa: ANN401  traits of the provisioner
    from enterprise_gateway.provisioners.kubernetes import KubernetesProvisioner

    return KubernetesProvisioner(services=cluster.services, **arguments)
