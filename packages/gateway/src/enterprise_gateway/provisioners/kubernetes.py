"""jupyter_client's provisioner of kernels in pods: the same in this gateway and in a plain Jupyter Server.

In the gateway the services of the cluster are handed in. Peers nobody does, so the first kernel makes them, from
KUBECONFIG or the cluster that the process is a pod of, and the last one takes them away.
"""

import asyncio
import logging
import os
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Bool, Dict, Enum, Int, List, Unicode

from enterprise_gateway.cluster.default_services import SharedServices, shared_services
from enterprise_gateway.cluster.objects.store import KernelRecord
from enterprise_gateway.cluster.pods.kernel_pods import KernelPods
from enterprise_gateway.cluster.services import ClusterServices
from enterprise_gateway.cluster.watch.pod_watch import PodWatch
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import GatewayError, KernelExists, KubernetesError, LaunchRefused, NotSupported, Unavailable
from enterprise_gateway.launch.command import expects_phone_home, pod_command
from enterprise_gateway.launch.plan import LaunchPlan, build_plan
from enterprise_gateway.launch.policy import Policy
from enterprise_gateway.launch.pool_size import PoolSize, read_pool_config
from enterprise_gateway.launch.proxy_ports import OpenPorts, proxy_ports_of
from enterprise_gateway.launch.request import LaunchRequest
from enterprise_gateway.launch.run_script import client_mode
from enterprise_gateway.launch.spark import starts_pods
from enterprise_gateway.launch.template import find_executor_template, find_template
from enterprise_gateway.provisioners.connection_strategy import ConnectionStrategy, MountedFile, PhoneHome
from enterprise_gateway.provisioners.phases import LaunchPhases
from enterprise_gateway.provisioners.phone_home import make_listener, send_command
from enterprise_gateway.provisioners.plain_request import plain_request
from enterprise_gateway.provisioners.port_probe import AnyPort, greets
from enterprise_gateway.provisioners.progress import LaunchProgress, NobodyWaits
from enterprise_gateway_common.connection import PORTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enterprise_gateway.launch.supervisor_address import SupervisorAddress

__all__ = ["KubernetesProvisioner"]

_log = logging.getLogger(__name__)

_TERMINATION_GRACE = 5
_SYNC_SECONDS = 20.0
_OVER_QUOTA = "exceeded quota"
_QUOTA_SECONDS, _QUOTA_TRIES = 0.25, 40


class KubernetesProvisioner(KernelProvisionerBase):
    """Runs one kernel in a pod."""

    image_name = Unicode("", config=True, help="The kernel's image where the client names none.")

    executor_image_name = Unicode("", config=True, help="Image of the pods that the kernel starts, where the client names none.")

    starts_pods = Bool(
        None,
        allow_none=True,
        config=True,
        help="Whether the kernel starts pods of its own, as Spark's drivers do; unset to see by its executor image and argv.",
    )

    node_selector = Dict(
        key_trait=Unicode(), value_trait=Unicode(), config=True, help="Labels of the nodes that the kernel's pod may run on."
    )

    image_pull_policy = Enum(("", "IfNotPresent", "Always"), "", config=True, help="When the kernel's image is pulled anew.")

    connection = Unicode(
        "", config=True, help="How the kernel's connection is made: secret, phone-home, or empty to see by its argv."
    )

    proxy_ports = List(
        trait=Int(), config=True, help="Ports of the kernel's pod that the gateway passes on to the kernel's user."
    )

    warm_pool = Dict(
        config=True, help="How many pods wait for a start: size, or minimum and maximum; where kernels share a namespace."
    )

    def __init__(self, *, services: ClusterServices | None = None, **kwargs: Any) -> None:  # noqa: ANN401  traits of the base class
        # Other keys of the kernelspec's config are for other programs, such as the image puller.
        for name in [name for name in kwargs if name not in self.trait_names() and name != "config"]:
            del kwargs[name]
        super().__init__(**kwargs)
        # The base class has one mutable dictionary for all its instances.
        self.connection_info: KernelConnectionInfo = {}
        self._services = services
        self._shared: SharedServices | None = None
        self._pods: KernelPods | None = None
        self._launched = False
        self._command_port: int | None = None
        self._given: dict[str, str] = {}
        self.supervisor: SupervisorAddress | None = None
        """Where the supervisor of the kernel listens; `None` where the kernel itself is spoken with."""
        self.untold_environment: Mapping[str, str] | None = None
        """What the supervisor of a claimed pod is yet to be told, without which the kernel doesn't begin; `None` for nothing."""
        self._may_claim = True

    # ------------------------------------------------------------------------------------------------------ starting

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401  the base class' signature
        """Return the arguments of the launch; nothing has been asked of the cluster yet."""
        # The base class mixes the kernelspec's variables into it, after which nobody can tell whose is whose.
        self._given = dict(kwargs.get("env") or os.environ)
        prepared: dict[str, Any] = await super().pre_launch(cmd=list(self.kernel_spec.argv), **kwargs)
        return prepared

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ANN401, ARG002  the base class' signature
        """Return the connection of a kernel whose pod runs.

        Raises
        ------
        GatewayError
            It can't, with the cause in words for its user; then nothing of it exists.
        """
        phases = self.phases = LaunchPhases()
        services = await self._cluster()
        await services.turn()
        request, argv = self._request(services, cmd)
        deadline = self._deadline(request, services, services.policy.current())
        pods = self._kernel_pods(services)
        strategy = await self._strategy(services, argv)
        try:
            plan = self._plan(services, request, argv, strategy, has_pool=self.pool_size(services).maximum > 0)
            phases.ended("prepare")
            if (claimed := await self._claimed(services, plan, deadline)) is not None:
                phases.ended("claim")
                return claimed
            watch = await self._made(services, plan, deadline)
            phases.ended("create")
            self._progress.made()
            state = await watch.running(client=services.client, graces=services.options.graces, deadline=deadline)
            phases.ended("pod")
            info: Any = await strategy.connection(state, watch=watch, plan=plan, deadline=deadline)
            phases.ended("connection")
        except KernelExists:
            # What belongs to this kernel now isn't this start's.
            pods.forget()
            raise
        except BaseException as error:
            await self._undo(error, strategy)
            raise
        finally:
            strategy.close()
        self._launched = True
        self._command_port = info.pop("comm_port", None)
        self.connection_info = info
        self.supervisor = strategy.supervisor
        where = {"pod": state.name, "namespace": state.namespace, "node": state.node}
        _log.info("Kernel's pod runs", extra={"kernel_id": self.kernel_id, **where})
        return self.connection_info

    async def plan_for_pool(self) -> LaunchPlan:
        """Return what would be made of the kernelspec for a start that nobody asked for, whose kernel waits for its claim.

        Raises
        ------
        GatewayError
            Such a start would be refused.
        """
        services = await self._cluster()
        await services.turn()
        request, argv = self._request(services, list(self.kernel_spec.argv))
        strategy = await self._strategy(services, argv)
        strategy.waits_for_claim()
        try:
            return self._plan(services, request, argv, strategy, has_pool=True)
        finally:
            strategy.close()

    def pool_size(self, services: ClusterServices) -> PoolSize:
        """Return how many pods of the kernelspec wait for a start; raises `LaunchFailed` where its config can't be read."""
        told = services.options.launch.pools.get(getattr(self.parent, "kernel_name", "").lower())
        return read_pool_config(dict(self.warm_pool)) if told is None else told

    async def _claimed(self, services: ClusterServices, plan: LaunchPlan, deadline: Deadline) -> KernelConnectionInfo | None:
        """Return the connection of a pod that was in waiting and is this kernel's now; `None` where a new one has to be made."""
        if not plan.fingerprint or plan.pool_obstacle is not None or not self._may_claim:
            return None
        services.watch_pool()
        pods = self._kernel_pods(services)
        try:
            claimed = await pods.claim(services.pool, plan, deadline=deadline)
            if claimed is None:
                return None
            await services.pool.record(claimed, plan, deadline=deadline)
        except KubernetesError as error:
            fields = {"kernel_id": self.kernel_id, "cause": str(error)}
            _log.warning("A pod in waiting can't be claimed, and a new one is made", extra=fields)
            await self._take_away(restart=True, others=False)
            return None
        where = {"pod": claimed.state.name, "namespace": claimed.state.namespace, "node": claimed.state.node}
        _log.info("Kernel claimed a pod", extra={"kernel_id": self.kernel_id, **where})
        self._launched, self._command_port = True, None
        info: Any = dict(claimed.connection.info)
        self.connection_info = info
        self.supervisor, self.untold_environment = claimed.connection.supervisor, claimed.environment
        return self.connection_info

    async def _made(self, services: ClusterServices, plan: LaunchPlan, deadline: Deadline) -> PodWatch:
        """Return the watch of a new pod; where a quota refuses it, pods in waiting make room.

        Raises
        ------
        GatewayError
            It can't be made.
        """
        pods, tries = self._kernel_pods(services), 0
        while True:
            try:
                return await pods.make(services.maker, plan, deadline=deadline)
            except LaunchRefused as error:
                tries += 1
                made_room = _OVER_QUOTA in error.message and (tries > 1 or await services.pool.make_room(plan.namespace))
                # The quota counts a pod that is gone for some seconds more.
                if not made_room or tries > _QUOTA_TRIES or deadline.left() <= _QUOTA_SECONDS:
                    raise
            await asyncio.sleep(_QUOTA_SECONDS)

    def claim_nothing(self) -> None:
        """Have the starts that follow make a new pod, whichever are in waiting."""
        self._may_claim, self.untold_environment = False, None

    def _plan(
        self,
        services: ClusterServices,
        request: LaunchRequest,
        argv: list[str],
        strategy: ConnectionStrategy,
        *,
        has_pool: bool,
    ) -> LaunchPlan:
        folder = Path(self.kernel_spec.resource_dir or "/nonexistent")
        return build_plan(
            request=request,
            policy=services.policy.current(),
            settings=services.options.launch,
            template=find_template(folder),
            executor_template=find_executor_template(folder),
            command=pod_command(argv, kernel_id=request.kernel.kernel_id, values=strategy.values),
            connection_file=strategy.connection_file(request.kernel.kernel_name),
            facts=strategy.variables,
            launch_id=secrets.token_hex(3),
            warm_nodes=services.nodes_with(request.image),
            gateway_key=strategy.gateway_key,
            pool_connection=strategy.traits if has_pool else None,
        )

    @property
    def _progress(self) -> LaunchProgress:
        handed_down: LaunchProgress | None = getattr(self.parent, "launch_progress", None)
        return handed_down or NobodyWaits()

    async def _undo(self, error: BaseException, strategy: ConnectionStrategy) -> None:
        if self._progress.is_handed_over and strategy.is_known_to_others:
            return
        if isinstance(error, GatewayError):
            await self._progress.fails(error.message)
        await asyncio.shield(asyncio.create_task(self._take_away(restart=False, others=False)))

    def _request(self, services: ClusterServices, cmd: list[str]) -> tuple[LaunchRequest, list[str]]:
        """Return the start and the kernel's command."""
        launch = services.options.launch
        # In the gateway it was read when the start was accepted, or from the record of a kernel that ran already.
        handed_down: LaunchRequest | None = getattr(self.parent, "launch_request", None)
        request = handed_down or plain_request(
            kernel_id=self.kernel_id,
            kernel_name=getattr(self.parent, "kernel_name", "") or self.kernel_spec.display_name,
            kernel_spec=self.kernel_spec,
            environment=self._given,
            rules=services.options.environment,
        )
        request = request.in_pod(
            default_image=self.image_name or launch.default_image,
            executor_image=self.executor_image_name or None,
            starts_pods=starts_pods(told=self.starts_pods, executor_image=self.executor_image_name, argv=self.kernel_spec.argv),
            node_selector=dict(self.node_selector),
            image_pull_policy=self.image_pull_policy or None,
            proxy_ports=tuple(self.proxy_ports),
            mirror_working_dirs=launch.mirror_working_dirs,
        )
        argv, environment = client_mode(cmd, request.environment)
        return request.with_environment(environment), list(argv)

    def _deadline(self, request: LaunchRequest, services: ClusterServices, policy: Policy) -> Deadline:
        options = services.options
        seconds = request.launch_seconds(default=options.launch_timeout, maximum=options.max_launch_timeout)
        handed_down: Deadline | None = getattr(self.parent, "launch_deadline", None)
        deadline = handed_down or Deadline(seconds)
        return deadline if request.judged.launch_seconds is None else deadline.capped(policy.maximum_launch_timeout)

    async def _strategy(self, services: ClusterServices, argv: list[str]) -> ConnectionStrategy:
        wanted = self.connection or ("phone-home" if expects_phone_home(argv) else "secret")
        if wanted != "phone-home":
            return MountedFile(services, self.parent)
        return PhoneHome(services, await services.listen(), kernel_id=self.kernel_id)

    def _kernel_pods(self, services: ClusterServices) -> KernelPods:
        if self._pods is None:
            self._pods = services.pods_of(self.kernel_id, answers=self._answers)
        return self._pods

    async def _answers(self) -> bool:
        info = self.connection_info
        port = self.supervisor.port if self.supervisor is not None else info.get("shell_port", 0)
        return bool(info) and await greets(info["ip"], port)

    # ------------------------------------------------------------------------------------------------------- running

    @property
    def has_process(self) -> bool:
        """Whether there is a pod to look after."""
        return self._launched

    async def poll(self) -> int | None:
        """Return the exit status, `None` while the kernel runs; a look into memory."""
        if not self._launched or (watch := self._watch) is None:
            return 0
        return watch.exit_status

    async def wait(self) -> int | None:
        """Return the exit status when the pod is gone, which makes room for the next one of its name."""
        watch = self._watch
        if watch is None:
            return 0
        await watch.ended()
        status = watch.exit_status
        await self._delete_pod(grace=0)
        self._launched = False
        return status

    async def wait_for_exit(self) -> str:
        """Return why the kernel ended, in words for its user, as soon as it has."""
        pods, services = self._pods, self._services
        if pods is None or services is None or (watch := pods.watch) is None:
            return "The kernel has no pod."
        await watch.ended()
        return watch.words() if pods.was_started else await watch.why_it_never_answered(services.client)

    def waiting_words(self) -> str | None:
        """Return what keeps a starting kernel from running just now."""
        return watch.trouble() if (watch := self._watch) is not None else None

    @property
    def open_ports(self) -> OpenPorts:
        """What of the pod can be reached through the gateway; a look into memory."""
        pod = self._watch.state if self._watch is not None else None
        if pod is None:
            return OpenPorts("", (), b"")
        key = self.supervisor.gateway_secretkey if self.supervisor is not None else self.connection_info.get("key", b"")
        secret = key.encode() if isinstance(key, str) else key
        # Whose address it is after the end of a pod, nobody knows.
        reachable = pod.running and not pod.ended and not pod.deleting
        return OpenPorts(pod.ip if reachable else "", proxy_ports_of(pod.annotations), secret)

    @property
    def _watch(self) -> PodWatch | None:
        return self._pods.watch if self._pods is not None else None

    async def send_signal(self, signum: int) -> None:
        """Send a signal as far as a pod can get one: interrupt by the control channel, the others by ending it."""
        match signum:
            case 0:
                return
            case signal.SIGINT:
                await self._interrupt()
            case signal.SIGKILL:
                await self.kill()
            case _:
                await self.terminate()

    async def _interrupt(self) -> None:
        manager = self.parent
        if self._command_port is not None:
            taken = await send_command(self.connection_info["ip"], self._command_port, {"signum": int(signal.SIGINT)})
            # A kernel that is about to end is interrupted too, and ends all the same.
            if not taken and not getattr(manager, "shutting_down", False):
                raise Unavailable("The kernel's launcher didn't take the interrupt; the kernel goes on with what it runs.")
            return
        if manager is None:
            return
        manager._connect_control_socket()  # noqa: SLF001  jupyter_client opens it in no other way
        manager.session.send(manager._control_socket, manager.session.msg("interrupt_request", content={}))  # noqa: SLF001  as above

    # -------------------------------------------------------------------------------------------------------- ending

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  the base class' signature
        """End the pod at once. The namespace stays: whether the kernel starts again is known at `cleanup` only."""
        await self._delete_pod(grace=0)

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  as above
        """Ask the kernel to end, and end the pod a few seconds later."""
        await self._delete_pod(grace=_TERMINATION_GRACE, wait=False)

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002  as above
        """Leave nothing of this kernel; where it starts again, the namespace that was made for it stays."""
        await self._take_away(restart=restart, others=not restart)
        if not restart and self._shared is not None:
            shared, self._shared, self._services = self._shared, None, None
            await shared.release()

    async def _take_away(self, *, restart: bool, others: bool) -> None:
        self._launched = False
        if self._pods is not None:
            await self._pods.take_away(restart=restart, others=others)

    async def _delete_pod(self, *, grace: int, wait: bool = True) -> None:
        if self._pods is not None:
            await self._pods.delete_pod(grace=grace, wait=wait)

    # ------------------------------------------------------------------------------------------------------ adopting

    @property
    def pods(self) -> KernelPods:
        """The kernel's pods, for who follows what other processes do with them.

        Raises
        ------
        NotSupported
            The provisioner was made without the services of a cluster.
        """
        if self._services is None:
            raise NotSupported("A kernel can only be adopted where its cluster is known.")
        return self._kernel_pods(self._services)

    def adopt(self, record: KernelRecord) -> None:
        """Take over a kernel that runs already, as its record tells it."""
        info: Any = dict(record.connection_info)
        self._command_port = info.pop("comm_port", None)
        self.connection_info = info
        self.supervisor = None
        self._launched = True

    async def reach(self, record: KernelRecord) -> None:
        """Return when it is known whether a kernel that was taken over has a supervisor: when something listens there."""
        if record.supervisor is None:
            return
        probe = AnyPort(record.pod.ip, [PORTS["shell_port"], record.supervisor.port], first_seconds=0.0)
        try:
            if await probe.answered == record.supervisor.port:
                self.supervisor = record.supervisor
        finally:
            probe.close()

    async def _cluster(self) -> ClusterServices:
        if self._services is None:
            self._shared = await shared_services(os.environ, make_responses=make_listener)
            self._services = self._shared.services
        await self._services.ready(_SYNC_SECONDS)
        return self._services
