"""From the settings to the objects that follow them: one function for each part of the gateway that has rules of its own."""

import importlib
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.paths import jupyter_path
from traitlets.config import Configurable

from enterprise_gateway.cluster.api.connect import check_cluster_settings, own_namespace
from enterprise_gateway.cluster.connection import ClusterConnection, ClusterMode
from enterprise_gateway.kernels.culling import CullingRules
from enterprise_gateway.kernels.executions import ExecutionRules
from enterprise_gateway.kernels.limits import KernelLimits
from enterprise_gateway.kernels.rules import KernelRules
from enterprise_gateway.kernelspecs.authorization import UserLists
from enterprise_gateway.kernelspecs.catalogue import KernelspecCatalogue
from enterprise_gateway.launch.environment import environment_rules
from enterprise_gateway.links.options import LinkOptions
from enterprise_gateway.metrics import GatewayMetrics
from enterprise_gateway.provisioners.connection_strategy import LogBounds
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway.web.access import Access, Authorizer, CrossOriginHeaders, TokenFile
from enterprise_gateway.web.base import Edge
from enterprise_gateway.websocket.options import V1_PROTOCOL, WebsocketOptions
from enterprise_gateway_common.tokens import is_one_printable_word

if TYPE_CHECKING:
    from enterprise_gateway.cluster.services import ClusterServices

__all__ = [
    "catalogue_of",
    "cluster_connection",
    "edge_of",
    "normal_base_url",
    "replica_identity",
    "rules_of",
    "websocket_options",
]

_DEFAULT_KERNEL_NAME = "python3"


def replica_identity() -> str:
    """Return what tells this process from the other replicas: in a pod its name, which a restarted container keeps."""
    name = socket.gethostname()
    return name if own_namespace() is not None else f"{name}-{secrets.token_hex(3)}"


def cluster_connection(settings: GatewaySettings, environment: Mapping[str, str], *, identity: str) -> ClusterConnection:
    """Return the connection to the cluster, which nobody has opened yet.

    Parameters
    ----------
    identity
        Tells this process from the other replicas.

    Raises
    ------
    ValueError, OSError
        The settings contradict each other, or the policy's file can't be used.
    """
    check_cluster_settings(settings)
    if settings.policy_file:
        # Read now, so that a policy that can't be used stops the start and not the first kernel.
        from enterprise_gateway.launch.policy import open_policy

        open_policy(settings.policy_file)

    async def make_services(cluster: str) -> "ClusterServices":
        from enterprise_gateway.wiring_cluster import make_cluster_services

        return await make_cluster_services(cluster, settings, identity=identity)

    return ClusterConnection(
        mode=cast("ClusterMode", settings.kubernetes),
        kubeconfig=settings.kubeconfig,
        environment=environment,
        make_services=make_services,
    )


def normal_base_url(base_url: str) -> str:
    """Return a path that begins and ends with a slash."""
    stripped = base_url.strip("/")
    return f"/{stripped}/" if stripped else "/"


def catalogue_of(settings: GatewaySettings, parent: Configurable | None) -> KernelspecCatalogue:
    """Return the kernelspecs that may be started."""
    # The folders are named here because jupyter_client's own answer imports IPython (30 MiB) to add one that nobody has.
    # The native kernel needs no special care either: ipykernel installs its kernelspec beside the interpreter.
    manager = KernelSpecManager(parent=parent, kernel_dirs=jupyter_path("kernels"), ensure_native_kernel=False)
    return KernelspecCatalogue(manager=manager, allowed=settings.allowed_kernels, max_age=settings.kernelspec_max_age)


def rules_of(settings: GatewaySettings, *, default_user: str) -> KernelRules:
    """Return what the administrator decides about kernels.

    Raises
    ------
    ValueError
        A list of ids holds something else.
    """
    return KernelRules(
        default_kernel_name=settings.default_kernel_name or _DEFAULT_KERNEL_NAME,
        default_user=default_user,
        launch_timeout=settings.kernel_launch_timeout,
        max_launch_timeout=settings.max_kernel_launch_timeout,
        pending_starts=settings.pending_starts,
        pending_start_timeout=settings.pending_start_timeout,
        users=UserLists(authorized=settings.authorized_users, unauthorized=settings.unauthorized_users),
        limits=KernelLimits(total=settings.max_kernels, per_user=settings.max_kernels_per_user),
        culling=CullingRules(idle_timeout=settings.cull_idle_timeout, connected=settings.cull_connected, busy=settings.cull_busy),
        environment=environment_rules(settings),
    )


def websocket_options(settings: GatewaySettings) -> WebsocketOptions:
    """Return the bounds of every websocket."""
    # The layer takes the empty text for "never v1", which no environment variable can hold apart from being unset.
    protocol = None if settings.kernel_ws_protocol in {None, V1_PROTOCOL} else ""
    return WebsocketOptions(
        kernel_info_timeout=settings.kernel_info_timeout,
        ping_interval=settings.ws_ping_interval,
        max_message_bytes=settings.websocket_max_message_size,
        max_connections=settings.max_websockets,
        outbound_bytes=settings.websocket_outbound_bytes,
        iopub_message_rate=settings.iopub_msg_rate_limit,
        iopub_data_rate=settings.iopub_data_rate_limit,
        rate_window=settings.rate_limit_window,
        allowed_message_types=frozenset(settings.allowed_message_types),
        allow_tracebacks=settings.allow_tracebacks,
        traceback_replacement_message=settings.traceback_replacement_message,
        compression=settings.websocket_compression,
        protocol=protocol,
    )


def link_options(settings: GatewaySettings) -> LinkOptions:
    """Return the bounds of every link to a kernel, and of its log."""
    return LinkOptions(
        max_message_bytes=settings.websocket_max_message_size,
        log_bytes=settings.replay_max_bytes,
        log_messages=settings.replay_max_messages,
        read_ahead_bytes=settings.websocket_outbound_bytes,
    )


def log_bounds(settings: GatewaySettings) -> LogBounds:
    """Return how much a supervisor keeps of what its kernel says."""
    return LogBounds(settings.kernel_log_memory, settings.kernel_log_file, settings.kernel_log_messages)


def execution_rules(settings: GatewaySettings) -> ExecutionRules:
    """Return what the administrator decides about executions."""
    return ExecutionRules(
        recorded=bool(settings.executions_max_count),
        allowed_message_types=frozenset(settings.allowed_message_types),
        allow_tracebacks=settings.allow_tracebacks,
        traceback_replacement_message=settings.traceback_replacement_message,
        ready_timeout=settings.kernel_info_timeout,
    )


def edge_of(settings: GatewaySettings, metrics: GatewayMetrics) -> Edge:
    """Return what every request is checked against.

    Raises
    ------
    ValueError, OSError
        The token, the file of tokens or the class of the authorizer can't be used.
    """
    return Edge(
        access=Access(
            token=_token(settings),
            token_file=_token_file(settings.auth_tokens_file),
            allow_origin=settings.allow_origin,
            authorized_origin=settings.authorized_origin,
            authorizer=_authorizer(settings.authorizer_class),
        ),
        cross_origin=CrossOriginHeaders(
            {
                "Access-Control-Allow-Credentials": settings.allow_credentials,
                "Access-Control-Allow-Headers": settings.allow_headers,
                "Access-Control-Allow-Methods": settings.allow_methods,
                "Access-Control-Allow-Origin": settings.allow_origin,
                "Access-Control-Expose-Headers": settings.expose_headers,
                "Access-Control-Max-Age": settings.max_age,
            }
        ),
        metrics=metrics,
        base_url=settings.base_url,
        max_body_size=settings.max_body_size,
    )


def _token(settings: GatewaySettings) -> str:
    # A file that a Secret was made of often ends with a line end, which no header could carry.
    token = settings.auth_token.strip()
    if token and not is_one_printable_word(token):
        raise ValueError("auth_token: the token must be printable ASCII without blanks.")
    if settings.require_token and not token and not settings.auth_tokens_file:
        raise ValueError(
            "auth_token: it is empty, and require_token doesn't allow that. Was the Secret made with an empty token?"
        )
    return token


def _token_file(path: str | None) -> TokenFile | None:
    try:
        return TokenFile(Path(path)) if path else None
    except OSError as error:
        raise ValueError(f"auth_tokens_file: {path} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise ValueError(f"auth_tokens_file: {path}: {error}.") from error


def _authorizer(dotted_name: str) -> Authorizer | None:
    module, _, name = dotted_name.rpartition(".")
    # The original's default, which allows all.
    if not name or name == "AllowAllAuthorizer":
        return None
    try:
        made: Authorizer = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"authorizer_class: {dotted_name} can't be imported: {error}.") from error
    return made
