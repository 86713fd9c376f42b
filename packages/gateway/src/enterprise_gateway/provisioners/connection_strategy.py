"""How gateway and kernel come to the same connection: a file that the gateway mounts, or one that the kernel tells."""

import asyncio
import base64
import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import zmq

from enterprise_gateway.cluster.api.client import ClusterClient
from enterprise_gateway.cluster.pods.state import PodState
from enterprise_gateway.cluster.services import ClusterServices, Responses
from enterprise_gateway.cluster.watch.pod_watch import PodWatch
from enterprise_gateway.deadline import Deadline
from enterprise_gateway.errors import LaunchFailed, LaunchTimeout
from enterprise_gateway.launch.plan import LaunchPlan
from enterprise_gateway.launch.supervisor_address import SupervisorAddress
from enterprise_gateway.provisioners.port_probe import AnyPort
from enterprise_gateway_common.connection import (
    CONNECTION_FILE,
    CONNECTION_FOLDER,
    PORTS,
    SupervisorSettings,
    connection_file,
)
from enterprise_gateway_common.supervisor_protocol import SUPERVISOR_PORT

__all__ = ["ConnectionStrategy", "LogBounds", "MountedFile", "PhoneHome"]

_log = logging.getLogger(__name__)

_ANY_PORT = "0..0"


class LogBounds(NamedTuple):
    """How much a supervisor keeps of what its kernel says."""

    memory_bytes: int
    file_bytes: int
    messages: int


class ConnectionStrategy(Protocol):
    """One start's way to a connection."""

    values: Mapping[str, str]
    """What stands for the placeholders of the kernelspec's argv."""
    variables: Mapping[str, str]
    """What the pod gets in its environment for it."""
    gateway_key: str | None
    """What its supervisor lets gateways in by; `None` where it has none."""
    supervisor: SupervisorAddress | None
    """Where its supervisor listens, once the connection is known; `None` where it has none."""
    is_known_to_others: bool
    """Whether other processes can find the connection although this one doesn't wait for it."""
    traits: str
    """What else than keys its connection file says."""

    def waits_for_claim(self) -> None:
        """Have the kernel begin only when somebody claims its pod."""

    def connection_file(self, kernel_name: str) -> str | None:
        """Return the file to mount; `None` where the kernel makes its own."""

    async def connection(self, state: PodState, *, watch: PodWatch, plan: LaunchPlan, deadline: Deadline) -> dict[str, Any]:
        """Return the connection of a kernel whose pod runs, as jupyter_client takes it."""

    def close(self) -> None:
        """End what waits for the connection."""


class MountedFile:
    """The gateway makes the keys; the kernel finds them in its pod. A restart keeps the kernel's own.

    A launcher that knows of supervisors listens in its kernel's place; which one the image has shows when something
    listens.

    Parameters
    ----------
    manager
        The kernel's manager; its session has the key, and its settings say whether to encrypt, and how much a supervisor
        keeps of what the kernel says. One that doesn't say that speaks with kernels themselves.
    """

    is_known_to_others = True

    def __init__(self, services: ClusterServices, manager: Any) -> None:  # noqa: ANN401  any kernel manager
        self._client = services.client
        self.values: Mapping[str, str] = {"connection_file": f"{CONNECTION_FOLDER}/{CONNECTION_FILE}"}
        self.variables: Mapping[str, str] = {}
        self.gateway_key: str | None = None
        self.supervisor: SupervisorAddress | None = None
        self._key: bytes = getattr(getattr(manager, "session", None), "key", b"") or secrets.token_hex(32).encode()
        self._curve: dict[str, str] = {}
        self._listens: SupervisorSettings | None = None
        if manager is not None and _encrypts(manager):
            if manager.curve_publickey is None:
                manager.curve_publickey, manager.curve_secretkey = zmq.curve_keypair()
            self._curve = {
                "curve_publickey": manager.curve_publickey.decode(),
                "curve_secretkey": manager.curve_secretkey.decode(),
            }
        bounds: LogBounds | None = getattr(manager, "supervisor_log", None)
        if bounds is not None:
            (public, secret), (gateway_public, gateway_secret) = _curve_pair(), _curve_pair()
            self.gateway_key = gateway_secret
            self._listens = SupervisorSettings(SUPERVISOR_PORT, public, secret, gateway_public, *bounds)
        self.traits = f"encrypted={bool(self._curve)} log={bounds}"

    def waits_for_claim(self) -> None:
        """Have the kernel begin only when somebody claims its pod."""
        if self._listens is not None:
            self._listens = self._listens._replace(waits_for_claim=True)

    def connection_file(self, kernel_name: str) -> str:
        """Return the file to mount."""
        return connection_file(
            key=self._key.decode(),
            kernel_name=kernel_name,
            curve_publickey=self._curve.get("curve_publickey"),
            curve_secretkey=self._curve.get("curve_secretkey"),
            supervisor=self._listens,
        )

    async def connection(
        self,
        state: PodState,
        *,
        watch: PodWatch,
        plan: LaunchPlan,  # noqa: ARG002  the protocol's signature
        deadline: Deadline,
    ) -> dict[str, Any]:
        """Return the connection when the kernel or its supervisor listens; all of it but the address was known before.

        Raises
        ------
        LaunchFailed
            The kernel ends before it listens, or takes too long.
        """
        ports = [PORTS["shell_port"], *([] if self._listens is None else [self._listens.port])]
        probe = AnyPort(state.ip, ports)
        try:
            await _before_the_end(probe.answered, watch=watch, client=self._client, deadline=deadline, otherwise="didn't listen")
            port = probe.answered.result()
        finally:
            probe.close()
        if self._listens is not None and self.gateway_key is not None and port == self._listens.port:
            keys = self._listens.publickey, self._listens.gateway_publickey, self.gateway_key
            self.supervisor = SupervisorAddress(state.ip, port, *keys)
        base = {"transport": "tcp", "signature_scheme": "hmac-sha256"}
        return {**base, "ip": state.ip, "key": self._key, **PORTS, **self._curve}

    def close(self) -> None:
        """Nothing waits."""


class PhoneHome:
    """The kernel chooses its ports and keys and tells them to this process."""

    is_known_to_others = False

    def __init__(self, services: ClusterServices, responses: Responses, *, kernel_id: str) -> None:
        self._services = services
        self._responses = responses
        self._kernel_id = kernel_id
        address, key = self._responses.response_address, self._responses.public_key
        self.values: Mapping[str, str] = {"response_address": address, "public_key": key, "port_range": _ANY_PORT}
        self.variables: Mapping[str, str] = {
            "RESPONSE_ADDRESS": address,
            "PUBLIC_KEY": key,
            "PORT_RANGE": _ANY_PORT,
            "KERNEL_SPARK_CONTEXT_INIT_MODE": "none",
        }
        self.gateway_key: str | None = None
        self.supervisor: SupervisorAddress | None = None
        self.traits = "told by the kernel"
        self._told = self._responses.expect(kernel_id, foreign=self._is_of_another_kernel)

    def waits_for_claim(self) -> None:
        """Do nothing: such a kernel tells its connection to who started it."""

    def _is_of_another_kernel(self, ip: str) -> bool:
        # A kernel runs whatever its user likes, and the key to encrypt with is public.
        return any(pod.ip == ip and pod.kernel_id != self._kernel_id for pod in self._services.pods.objects.values())

    def connection_file(self, kernel_name: str) -> None:
        """Mount nothing."""

    async def connection(self, state: PodState, *, watch: PodWatch, plan: LaunchPlan, deadline: Deadline) -> dict[str, Any]:
        """Return the connection when the kernel has told it, and keep it for gateways that come later.

        Raises
        ------
        LaunchFailed
            The kernel ends before it has, or takes too long.
        """
        await _before_the_end(
            self._told, watch=watch, client=self._services.client, deadline=deadline, otherwise="didn't tell its connection"
        )
        told = self._told.result()
        if told["ip"] != state.ip:
            # Pods may be behind address translation. Whoever told it, this process connects to the kernel's own pod only.
            _log.warning("A kernel's connection came from another address than its pod's", extra={"kernel_id": self._kernel_id})
        info = {**{name: told[name] for name in (*PORTS, "transport", "signature_scheme", "key", "comm_port")}, "ip": state.ip}
        text = base64.b64encode(json.dumps(info).encode()).decode()
        await self._services.client.patch(
            "Secret", plan.namespace, plan.names.secret, {"data": {CONNECTION_FILE: text}}, deadline=deadline
        )
        return {**info, "key": info["key"].encode()}

    def close(self) -> None:
        """Wait no longer."""
        self._responses.forget(self._kernel_id)


async def _before_the_end(
    awaited: "asyncio.Future[Any]", *, watch: PodWatch, client: ClusterClient, deadline: Deadline, otherwise: str
) -> None:
    """Return when something has come about, or say why it never will."""
    ended = asyncio.ensure_future(watch.ended())
    waited: set[asyncio.Future[Any]] = {awaited, ended}
    try:
        await asyncio.wait(waited, timeout=deadline.left(), return_when=asyncio.FIRST_COMPLETED)
        if awaited.done():
            return
        if ended.done():
            raise LaunchFailed(await watch.why_it_never_answered(client))
        raise LaunchTimeout(f"The kernel {otherwise} within {deadline.seconds:.0f} seconds.")
    finally:
        ended.cancel()


def _encrypts(manager: Any) -> bool:  # noqa: ANN401  any kernel manager
    """Tell whether a manager wants CURVE for this kernel and the kernel can it."""
    policy = getattr(manager, "transport_encryption", "disabled")
    return policy == "required" or (policy == "auto" and bool(manager._kernel_supports_curve_encryption()))  # noqa: SLF001  jupyter_client's own rule


def _curve_pair() -> tuple[str, str]:
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()
