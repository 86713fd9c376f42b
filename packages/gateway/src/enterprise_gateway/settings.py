"""Every setting of the gateway, declared once.

The command line, the configuration file, the environment and the documentation's page of settings all come from the
fields of `GatewaySettings`.

A value is taken from the command line, else from the configuration file, else from the environment, else it is the
default that stands here. Older environment names follow the newest; `KG_*` names come from Jupyter Kernel Gateway.
"""

from dataclasses import dataclass

from enterprise_gateway_common.environment import (
    boolean,
    choice,
    integer,
    names,
    number,
    optional,
    ordered_names,
    setting,
    text,
)

__all__ = ["ACCEPTED_WITHOUT_EFFECT", "GatewaySettings"]

_NETWORK = "Network"
_ACCESS = "Access"
_CORS = "Cross-origin requests"
_KERNELSPECS = "Kernelspecs"
_KERNELS = "Kernels"
_ENVIRONMENT = "Environment of kernels"
_USERS = "Users and limits"
_CULLING = "Culling"
_WEBSOCKET = "Websocket"
_BOUNDS = "Bounds on requests"
_KUBERNETES = "Kubernetes"
_RESPONSES = "Kernels that tell their connection"
_ELSEWHERE = "Accepted without effect"
_OPERATION = "Operation"

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """The settings of one gateway process; read once at its start and handed to who needs them."""

    # ---------------------------------------------------------------------------------------------------- network
    ip: str = setting(
        "127.0.0.1",
        text,
        environment=("EG_IP", "KG_IP"),
        group=_NETWORK,
        help="Address to listen on; 0.0.0.0 for every address of this machine.",
    )
    port: int = setting(
        8888,
        integer(0, 65535),
        environment=("EG_PORT", "KG_PORT"),
        group=_NETWORK,
        help="Port to listen on; 0 lets the operating system choose.",
    )
    port_retries: int = setting(
        50,
        integer(0, 1000),
        environment=("EG_PORT_RETRIES", "KG_PORT_RETRIES"),
        group=_NETWORK,
        help="How many other ports to try when the port is taken; 0 makes a taken port an error.",
    )
    base_url: str = setting(
        "/",
        text,
        environment=("EG_BASE_URL", "KG_BASE_URL"),
        group=_NETWORK,
        help="Path below which everything is served, kernelspec resources too.",
    )
    trust_xheaders: bool = setting(
        False,
        boolean,
        environment=("EG_TRUST_XHEADERS", "KG_TRUST_XHEADERS"),
        group=_NETWORK,
        help="Take the client's address and protocol from X-Real-IP, X-Forwarded-For and X-Forwarded-Proto; only behind a "
        "proxy that sets them.",
    )
    certfile: str | None = setting(
        None,
        optional(text),
        environment=("EG_CERTFILE", "KG_CERTFILE"),
        group=_NETWORK,
        help="PEM file with the certificate (and its chain) to serve TLS with.",
    )
    keyfile: str | None = setting(
        None,
        optional(text),
        environment=("EG_KEYFILE", "KG_KEYFILE"),
        group=_NETWORK,
        help="PEM file with the certificate's private key.",
    )
    client_ca: str | None = setting(
        None,
        optional(text),
        environment=("EG_CLIENT_CA", "KG_CLIENT_CA"),
        group=_NETWORK,
        help="PEM file with the authorities whose client certificates are accepted; a client without one is then refused.",
    )
    ssl_version: str | None = setting(
        None,
        optional(text),
        environment=("EG_SSL_VERSION", "KG_SSL_VERSION"),
        group=_NETWORK,
        help="The oldest TLS version to accept, TLSv1_2 or TLSv1_3 (older deployments write a number of Python's ssl "
        "module, 5 for TLSv1_2). TLSv1_2 where nothing is set.",
    )

    # ----------------------------------------------------------------------------------------------------- access
    auth_token: str = setting(
        "",
        text,
        environment=("EG_AUTH_TOKEN", "KG_AUTH_TOKEN"),
        group=_ACCESS,
        secret=True,
        help="Token that every request must carry, as `Authorization: token …`, `Authorization: Bearer …` or `?token=…`. "
        "Empty means that no token is needed.",
    )
    auth_tokens_file: str | None = setting(
        None,
        optional(text),
        environment=("EG_AUTH_TOKENS_FILE",),
        group=_ACCESS,
        help="File with one `user:token` a line. A request with such a token acts as that user: kernels of others don't "
        "exist for it and KERNEL_USERNAME can't name somebody else. Read again when it changes.",
    )
    authorized_origin: str = setting(
        "",
        text,
        environment=("EG_AUTHORIZED_ORIGIN",),
        group=_ACCESS,
        help="With client certificates: the DNS name that a client's certificate must carry.",
    )
    allow_credentials: str = setting(
        "",
        text,
        environment=("EG_ALLOW_CREDENTIALS", "KG_ALLOW_CREDENTIALS"),
        group=_CORS,
        help="Value of Access-Control-Allow-Credentials; not sent when empty.",
    )
    allow_headers: str = setting(
        "",
        text,
        environment=("EG_ALLOW_HEADERS", "KG_ALLOW_HEADERS"),
        group=_CORS,
        help="Value of Access-Control-Allow-Headers; not sent when empty.",
    )
    allow_methods: str = setting(
        "",
        text,
        environment=("EG_ALLOW_METHODS", "KG_ALLOW_METHODS"),
        group=_CORS,
        help="Value of Access-Control-Allow-Methods; not sent when empty.",
    )
    allow_origin: str = setting(
        "",
        text,
        environment=("EG_ALLOW_ORIGIN", "KG_ALLOW_ORIGIN"),
        group=_CORS,
        help="Value of Access-Control-Allow-Origin, and the origin whose websockets and changing requests are accepted "
        "beside the gateway's own; * accepts every origin. Not sent when empty.",
    )
    expose_headers: str = setting(
        "",
        text,
        environment=("EG_EXPOSE_HEADERS", "KG_EXPOSE_HEADERS"),
        group=_CORS,
        help="Value of Access-Control-Expose-Headers; not sent when empty.",
    )
    max_age: str = setting(
        "",
        text,
        environment=("EG_MAX_AGE", "KG_MAX_AGE"),
        group=_CORS,
        help="Value of Access-Control-Max-Age; not sent when empty.",
    )

    # ------------------------------------------------------------------------------------------------ kernelspecs
    default_kernel_name: str = setting(
        "",
        text,
        environment=("EG_DEFAULT_KERNEL_NAME", "KG_DEFAULT_KERNEL_NAME"),
        group=_KERNELSPECS,
        help="Kernelspec to start where a request names none; python3 when empty.",
    )
    allowed_kernels: frozenset[str] = setting(
        frozenset(),
        names,
        environment=("EG_ALLOWED_KERNELS", "EG_KERNEL_WHITELIST"),
        group=_KERNELSPECS,
        help="Names of the kernelspecs to offer; all of them when empty.",
    )
    kernelspec_max_age: float = setting(
        1.0,
        number(0, 3600),
        environment=("EG_KERNELSPEC_MAX_AGE",),
        group=_KERNELSPECS,
        help="For how many seconds what was read of the kernelspec folders is used before they are looked at again.",
    )
    list_kernels: bool = setting(
        False,
        boolean,
        environment=("EG_LIST_KERNELS", "KG_LIST_KERNELS"),
        group=_KERNELS,
        help="Allow GET /api/kernels and GET /api/sessions, which JupyterLab needs. Without it they answer 403.",
    )

    # ---------------------------------------------------------------------------------------------------- kernels
    kernel_launch_timeout: float = setting(
        30.0,
        number(1, 86400),
        environment=("EG_KERNEL_LAUNCH_TIMEOUT",),
        group=_KERNELS,
        help="Seconds within which a kernel must be usable; a request may ask for another number by KERNEL_LAUNCH_TIMEOUT.",
    )
    max_kernel_launch_timeout: float = setting(
        900.0,
        number(1, 86400),
        environment=("EG_MAX_KERNEL_LAUNCH_TIMEOUT",),
        group=_KERNELS,
        help="The most seconds that KERNEL_LAUNCH_TIMEOUT may ask for; a larger number is lowered to it.",
    )
    kernel_info_timeout: float = setting(
        60.0,
        number(0.1, 3600),
        environment=("EG_KERNEL_INFO_TIMEOUT",),
        group=_KERNELS,
        help="Seconds that a new connection or a restarted kernel is given to answer a kernel_info_request.",
    )
    drain_timeout: float = setting(
        20.0,
        number(0, 86400),
        environment=("EG_DRAIN_TIMEOUT",),
        group=_KERNELS,
        help="Seconds that a gateway which was told to end stays with clients of kernels in pods that run a cell, so that they "
        "get all of its output; then they are sent to another gateway, and may miss what is printed on the way.",
    )
    shutdown_wait_time: float = setting(
        5.0,
        number(0, 600),
        environment=("EG_SHUTDOWN_WAIT_TIME",),
        group=_KERNELS,
        help="Seconds that a kernel is given to end by itself; half of them before it is told to terminate, then it is killed.",
    )
    restart_limit: int = setting(
        5,
        integer(0, 1000),
        environment=("EG_RESTART_LIMIT",),
        group=_KERNELS,
        help="How many times in a row a kernel that died is started again before it is given up; 0 never starts it again.",
    )
    stable_start_time: float = setting(
        10.0,
        number(0, 3600),
        environment=("EG_STABLE_START_TIME",),
        group=_KERNELS,
        help="Seconds after which a restarted kernel counts as stable, so that the next death is the first in a row again.",
    )
    transport_encryption: str = setting(
        "auto",
        choice("disabled", "auto", "required"),
        environment=("EG_TRANSPORT_ENCRYPTION",),
        group=_KERNELS,
        help="CURVE encryption between gateway and kernel: auto uses it where the kernelspec says that the kernel can, "
        "required refuses kernels that can't.",
    )
    zmq_io_threads: int = setting(
        1,
        integer(1, 64),
        environment=("EG_ZMQ_IO_THREADS",),
        group=_KERNELS,
        help="Threads that move messages between kernels and this process.",
    )
    zmq_max_sockets: int = setting(
        16384,
        integer(64, 65535),
        environment=("EG_ZMQ_MAX_SOCKETS",),
        group=_KERNELS,
        help="The most ZeroMQ sockets; a kernel needs two, each websocket four more.",
    )

    # ------------------------------------------------------------------------------------------------ environment
    client_envs: frozenset[str] = setting(
        frozenset(),
        names,
        environment=("EG_CLIENT_ENVS", "EG_ENV_WHITELIST", "KG_ENV_WHITELIST"),
        group=_ENVIRONMENT,
        help="Names of environment variables that a client may give to its kernel beside KERNEL_*; * for all but the few that "
        "change what a program runs (LD_PRELOAD, PYTHONPATH, PATH and their like).",
    )
    inherited_envs: frozenset[str] = setting(
        frozenset(),
        names,
        environment=("EG_INHERITED_ENVS", "EG_ENV_PROCESS_WHITELIST", "KG_ENV_PROCESS_WHITELIST"),
        group=_ENVIRONMENT,
        help="Names of the gateway's own environment variables that kernels get.",
    )
    kernel_headers: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_KERNEL_HEADERS",),
        group=_ENVIRONMENT,
        help="Names of request headers that a provisioner may read at a start.",
    )
    impersonation_enabled: bool = setting(
        False,
        boolean,
        environment=("EG_IMPERSONATION_ENABLED",),
        group=_ENVIRONMENT,
        help="Tell launchers that kernels are to act as their user (EG_IMPERSONATION_ENABLED in the kernel's environment).",
    )

    # ------------------------------------------------------------------------------------------------ users, limits
    authorized_users: frozenset[str] = setting(
        frozenset(),
        names,
        environment=("EG_AUTHORIZED_USERS",),
        group=_USERS,
        help="Users who may start kernels; everybody when empty. A kernelspec's own list takes its place.",
    )
    unauthorized_users: frozenset[str] = setting(
        frozenset({"root"}),
        names,
        environment=("EG_UNAUTHORIZED_USERS",),
        group=_USERS,
        help="Users who may never start kernels; a kernelspec's own list is added. A kernel that no user is named for belongs "
        "to the gateway's own operating system user, or to `anonymous` where that is root.",
    )
    max_kernels: int | None = setting(
        None,
        optional(integer(0)),
        environment=("EG_MAX_KERNELS", "KG_MAX_KERNELS"),
        group=_USERS,
        help="The most kernels at one time, those that are starting included; no limit when unset.",
    )
    max_kernels_per_user: int = setting(
        -1,
        integer(-1),
        environment=("EG_MAX_KERNELS_PER_USER",),
        group=_USERS,
        help="The most kernels of one user at one time, those that are starting included; -1 for no limit.",
    )
    prohibited_uids: tuple[str, ...] = setting(
        ("0",),
        ordered_names,
        environment=("EG_PROHIBITED_UIDS", "EG_UID_BLACKLIST"),
        group=_USERS,
        help="User ids that KERNEL_UID may not name.",
    )
    prohibited_gids: tuple[str, ...] = setting(
        ("0",),
        ordered_names,
        environment=("EG_PROHIBITED_GIDS", "EG_GID_BLACKLIST"),
        group=_USERS,
        help="Group ids that KERNEL_GID may not name.",
    )

    # ---------------------------------------------------------------------------------------------------- culling
    cull_idle_timeout: int = setting(
        0,
        integer(0),
        environment=("EG_CULL_IDLE_TIMEOUT",),
        group=_CULLING,
        help="Seconds without activity after which a kernel is shut down; 0 never. A kernelspec's "
        "metadata.cull_idle_timeout takes its place.",
    )
    cull_interval: int = setting(
        300,
        integer(1),
        environment=("EG_CULL_INTERVAL",),
        group=_CULLING,
        help="Seconds between two looks for kernels to cull.",
    )
    cull_connected: bool = setting(
        False,
        boolean,
        environment=("EG_CULL_CONNECTED",),
        group=_CULLING,
        help="Cull idle kernels although clients are connected to them.",
    )
    cull_busy: bool = setting(
        False,
        boolean,
        environment=("EG_CULL_BUSY",),
        group=_CULLING,
        help="Cull kernels without activity although they are busy.",
    )

    # -------------------------------------------------------------------------------------------------- websocket
    ws_ping_interval: int = setting(
        30,
        integer(0),
        environment=("EG_WS_PING_INTERVAL_SECS",),
        group=_WEBSOCKET,
        help="Seconds between two pings to a client; a client that answers none for three of them (and at least 30 s) is "
        "disconnected. 0 sends none.",
    )
    websocket_max_message_size: int = setting(
        100 * _MEBIBYTE,
        integer(1024),
        environment=("EG_WEBSOCKET_MAX_MESSAGE_SIZE",),
        group=_WEBSOCKET,
        help="The most bytes of one message from a client; a larger one closes its connection with code 1009.",
    )
    websocket_compression: bool = setting(
        False,
        boolean,
        environment=("EG_WEBSOCKET_COMPRESSION",),
        group=_WEBSOCKET,
        help="Offer permessage-deflate. It saves bytes on slow links and costs a multiple of a message's CPU time.",
    )
    websocket_outbound_bytes: int = setting(
        2 * _MEBIBYTE,
        integer(65536),
        environment=("EG_WEBSOCKET_OUTBOUND_BYTES",),
        group=_WEBSOCKET,
        help="How many bytes may wait to be sent to one client before the gateway stops reading its kernel for it.",
    )
    kernel_ws_protocol: str | None = setting(
        None,
        optional(choice("legacy", "v1.kernel.websocket.jupyter.org")),
        environment=("EG_KERNEL_WS_PROTOCOL",),
        group=_WEBSOCKET,
        help="Websocket subprotocol to speak: unset takes v1.kernel.websocket.jupyter.org where the client offers it, "
        "`legacy` never does.",
    )
    replay_max_bytes: int = setting(
        16 * _MEBIBYTE,
        integer(0),
        environment=("EG_REPLAY_MAX_BYTES",),
        group=_WEBSOCKET,
        help="How many bytes of output are kept for a client that lost its connection, for each kernel.",
    )
    replay_max_messages: int = setting(
        10_000,
        integer(0),
        environment=("EG_REPLAY_MAX_MESSAGES",),
        group=_WEBSOCKET,
        help="How many messages are kept for a client that lost its connection, for each kernel.",
    )
    iopub_msg_rate_limit: float = setting(
        0.0,
        number(0),
        environment=("EG_IOPUB_MSG_RATE_LIMIT",),
        group=_WEBSOCKET,
        help="Messages a second of one kernel's output beyond which output is dropped with a notice; 0 for no limit.",
    )
    iopub_data_rate_limit: float = setting(
        0.0,
        number(0),
        environment=("EG_IOPUB_DATA_RATE_LIMIT",),
        group=_WEBSOCKET,
        help="Bytes a second of one kernel's output beyond which output is dropped with a notice; 0 for no limit.",
    )
    rate_limit_window: float = setting(
        3.0,
        number(0.1),
        environment=("EG_RATE_LIMIT_WINDOW",),
        group=_WEBSOCKET,
        help="Seconds over which the two rates are measured.",
    )
    allowed_message_types: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_ALLOWED_MESSAGE_TYPES",),
        group=_WEBSOCKET,
        help="Types of messages that clients may send to kernels; all when empty.",
    )
    allow_tracebacks: bool = setting(
        True,
        boolean,
        environment=("EG_ALLOW_TRACEBACKS",),
        group=_WEBSOCKET,
        help="Send the tracebacks of a user's own errors to the user.",
    )
    traceback_replacement_message: str = setting(
        "An exception occurred at runtime, which is not shown due to security reasons.",
        text,
        environment=("EG_TRACEBACK_REPLACEMENT_MESSAGE",),
        group=_WEBSOCKET,
        help="What stands in place of a traceback that isn't sent.",
    )

    # ----------------------------------------------------------------------------------------------------- bounds
    max_body_size: int = setting(
        _MEBIBYTE,
        integer(1024),
        environment=("EG_MAX_BODY_SIZE",),
        group=_BOUNDS,
        help="The most bytes of a request's body; a larger one is answered with 413.",
    )
    max_http_connections: int = setting(
        2048,
        integer(16),
        environment=("EG_MAX_HTTP_CONNECTIONS",),
        group=_BOUNDS,
        help="The most connections of clients at one time, websockets aside; one more is closed at once. So many of the "
        "process' file descriptors, or a quarter of them where that is less, are never given to kernels and websockets.",
    )
    max_header_size: int = setting(
        32 * 1024,
        integer(1024),
        environment=("EG_MAX_HEADER_SIZE",),
        group=_BOUNDS,
        help="The most bytes of a request's headers.",
    )
    request_timeout: float = setting(
        30.0,
        number(1),
        environment=("EG_REQUEST_TIMEOUT",),
        group=_BOUNDS,
        help="Seconds within which a request's body must have arrived.",
    )
    idle_connection_timeout: float = setting(
        75.0,
        number(1),
        environment=("EG_IDLE_CONNECTION_TIMEOUT",),
        group=_BOUNDS,
        help="Seconds after which a connection without a complete request is closed.",
    )
    max_env_count: int = setting(
        128,
        integer(0),
        environment=("EG_MAX_ENV_COUNT",),
        group=_BOUNDS,
        help="The most environment variables in one request.",
    )
    max_env_value_size: int = setting(
        64 * 1024,
        integer(0),
        environment=("EG_MAX_ENV_VALUE_SIZE",),
        group=_BOUNDS,
        help="The most bytes of one environment variable's value in a request.",
    )
    max_env_size: int = setting(
        256 * 1024,
        integer(0),
        environment=("EG_MAX_ENV_SIZE",),
        group=_BOUNDS,
        help="The most bytes of all environment variables in one request.",
    )
    authenticate_metrics: bool = setting(
        True,
        boolean,
        environment=("EG_AUTHENTICATE_METRICS",),
        group=_ACCESS,
        help="Whether /metrics needs the token, where there is one.",
    )
    max_sessions: int = setting(
        10_000,
        integer(1),
        environment=("EG_MAX_SESSIONS",),
        group=_BOUNDS,
        help="The most sessions (POST /api/sessions) that are kept at one time.",
    )
    max_websockets: int = setting(
        10_000,
        integer(1),
        environment=("EG_MAX_WEBSOCKETS",),
        group=_BOUNDS,
        help="The most websockets at one time; one more is answered with 503.",
    )

    # ------------------------------------------------------------------------------------------------- Kubernetes
    kubernetes: str = setting(
        "auto",
        choice("auto", "on", "off"),
        environment=("EG_KUBERNETES",),
        group=_KUBERNETES,
        help="Whether kernels may run in a cluster: auto connects as soon as a kernelspec asks for pods, on connects at the "
        "start and fails without a cluster, off never connects.",
    )
    kubeconfig: str | None = setting(
        None,
        optional(text),
        environment=("EG_KUBECONFIG",),
        group=_KUBERNETES,
        help="Kubeconfig of the cluster. Unset takes KUBECONFIG, else the cluster that the gateway is a pod of, else "
        "~/.kube/config.",
    )
    instance_name: str = setting(
        "enterprise-gateway",
        text,
        environment=("EG_INSTANCE",),
        group=_KUBERNETES,
        help="Name of this installation, a label of every object: two gateways of one cluster never see each other's kernels.",
    )
    namespace: str | None = setting(
        None,
        optional(text),
        environment=("EG_NAMESPACE",),
        group=_KUBERNETES,
        help="The gateway's own namespace; unset takes that of its pod. No client can have a kernel there unless "
        "shared_namespace is set.",
    )
    shared_namespace: bool = setting(
        False,
        boolean,
        environment=("EG_SHARED_NAMESPACE",),
        group=_KUBERNETES,
        help="Run all kernels in the gateway's namespace; otherwise each gets a namespace of its own.",
    )
    kernel_namespaces: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_KERNEL_NAMESPACES",),
        group=_KUBERNETES,
        help="The only namespaces that kernels run in, where the gateway has a Role in each and none is to be made: a client "
        "names one by KERNEL_NAMESPACE and gets the first where it names none.",
    )
    service_account_name: str | None = setting(
        None,
        optional(text),
        environment=("EG_SERVICE_ACCOUNT_NAME",),
        group=_KUBERNETES,
        help="The gateway's own service account, which no kernel may run as; unset takes that of its pod.",
    )
    default_kernel_service_account_name: str = setting(
        "default",
        text,
        environment=("EG_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME",),
        group=_KUBERNETES,
        help="Service account of kernels whose client names none.",
    )
    kernel_cluster_role: str | None = setting(
        "kernel-controller",
        optional(text),
        environment=("EG_KERNEL_CLUSTER_ROLE",),
        group=_KUBERNETES,
        help="Cluster role that a kernel's service account gets in a namespace that the gateway makes; empty for none.",
    )
    kernel_image: str | None = setting(
        None,
        optional(text),
        environment=("EG_KERNEL_IMAGE",),
        group=_KUBERNETES,
        help="Image of kernels whose kernelspec and client name none.",
    )
    kernel_image_pull_secrets: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_KERNEL_IMAGE_PULL_SECRETS",),
        group=_KUBERNETES,
        help="Secrets of the gateway's namespace that kernels' images are pulled with; copied into namespaces that it makes.",
    )
    mirror_working_dirs: bool = setting(
        False,
        boolean,
        environment=("EG_MIRROR_WORKING_DIRS",),
        group=_KUBERNETES,
        help="Start kernels in the folder that KERNEL_WORKING_DIR names.",
    )
    policy_file: str | None = setting(
        None,
        optional(text),
        environment=("EG_POLICY_FILE",),
        group=_KUBERNETES,
        help="YAML file that says which images, namespaces, service accounts, volumes and amounts clients may ask for; read "
        "again when it changes. Unset allows little.",
    )
    unschedulable_grace: float = setting(
        20.0,
        number(0, 86400),
        environment=("EG_UNSCHEDULABLE_GRACE",),
        group=_KUBERNETES,
        help="Seconds for which a start waits while no node can take its pod: as long as an autoscaler needs to bring one. The "
        "kernel's model says meanwhile what it waits for.",
    )
    image_pull_grace: float = setting(
        15.0,
        number(0, 86400),
        environment=("EG_IMAGE_PULL_GRACE",),
        group=_KUBERNETES,
        help="Seconds for which a start waits while its image can't be pulled for a reason that may pass, such as a registry "
        "that doesn't answer. An image that doesn't exist ends a start at once.",
    )
    leader_election: bool = setting(
        True,
        boolean,
        environment=("EG_LEADER_ELECTION",),
        group=_KUBERNETES,
        help="Agree with the other replicas, by a Lease in the gateway's namespace, which of them culls kernels, starts dead "
        "ones again and takes orphans away. False where this is the only gateway of its installation: it then does so by itself "
        "and needs no right to leases.",
    )
    response_ip: str = setting(
        "",
        text,
        environment=("EG_RESPONSE_IP",),
        group=_RESPONSES,
        help="Address by which pods reach this process, when their launcher tells its connection to the gateway; empty takes "
        "one of this machine's own.",
    )
    response_port: int = setting(
        8877,
        integer(0, 65535),
        environment=("EG_RESPONSE_PORT",),
        group=_RESPONSES,
        help="Port on which such launchers are listened to, from the first start of such a kernel on; 0 lets the operating "
        "system choose.",
    )
    response_port_retries: int = setting(
        10,
        integer(0, 1000),
        environment=("EG_RESPONSE_PORT_RETRIES",),
        group=_RESPONSES,
        help="How many of the following ports to try when the port is taken.",
    )
    response_addr_any: bool = setting(
        False,
        boolean,
        environment=("EG_RESPONSE_ADDR_ANY",),
        group=_RESPONSES,
        help="Listen on every address of this machine and not only on the one that launchers are told.",
    )
    prohibited_local_ips: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("EG_PROHIBITED_LOCAL_IPS",),
        group=_RESPONSES,
        help="Addresses of this machine, or regular expressions of such, that are never told to launchers.",
    )

    # --------------------------------------------------------------------------------------------- other platforms
    port_range: str = setting(
        "0..0",
        text,
        environment=("EG_PORT_RANGE",),
        group=_KERNELS,
        help="Ports that kernels of this machine use, as lowest..highest with at least a thousand between them; 0..0 for any.",
    )
    authorizer_class: str = setting(
        "",
        text,
        environment=("EG_AUTHORIZER_CLASS",),
        group=_ACCESS,
        help="Dotted name of a class whose is_authorized(handler, user, action, resource) decides on every request; none "
        "allows all that the other settings allow.",
    )
    remote_hosts: tuple[str, ...] = setting(
        ("localhost",),
        ordered_names,
        environment=("EG_REMOTE_HOSTS",),
        group=_ELSEWHERE,
        help="Hosts of the distributed platform, which this gateway doesn't start kernels on.",
    )
    load_balancing_algorithm: str = setting(
        "round-robin",
        choice("round-robin", "least-connection"),
        environment=("EG_LOAD_BALANCING_ALGORITHM",),
        group=_ELSEWHERE,
        help="Choice of a host on the distributed platform.",
    )
    yarn_endpoint: str | None = setting(
        None,
        optional(text),
        environment=("EG_YARN_ENDPOINT",),
        group=_ELSEWHERE,
        help="Address of Hadoop YARN's resource manager.",
    )
    alt_yarn_endpoint: str | None = setting(
        None,
        optional(text),
        environment=("EG_ALT_YARN_ENDPOINT",),
        group=_ELSEWHERE,
        help="Second address of Hadoop YARN's resource manager.",
    )
    yarn_endpoint_security_enabled: bool = setting(
        False,
        boolean,
        environment=("EG_YARN_ENDPOINT_SECURITY_ENABLED",),
        group=_ELSEWHERE,
        help="Whether Hadoop YARN wants Kerberos.",
    )
    conductor_endpoint: str | None = setting(
        None,
        optional(text),
        environment=("EG_CONDUCTOR_ENDPOINT",),
        group=_ELSEWHERE,
        help="Address of IBM Spectrum Conductor.",
    )
    kernelspec_cache_enabled: bool = setting(
        True,
        boolean,
        environment=("EG_KERNELSPEC_CACHE_ENABLED",),
        group=_ELSEWHERE,
        help="Kernelspecs are always cached and a change is always seen; see kernelspec_max_age.",
    )
    kernel_spec_cache_class: str = setting(
        "",
        text,
        environment=(),
        group=_ELSEWHERE,
        help="The cache's class can't be replaced.",
    )
    kernel_spec_manager_class: str = setting(
        "",
        text,
        environment=(),
        group=_ELSEWHERE,
        help="The class that finds kernelspecs can't be replaced.",
    )
    kernel_manager_class: str = setting(
        "",
        text,
        environment=(),
        group=_ELSEWHERE,
        help="The class that manages kernels can't be replaced; provisioners are how it is extended.",
    )
    kernel_session_manager_class: str = setting(
        "",
        text,
        environment=(),
        group=_ELSEWHERE,
        help="Kernels in pods are found again without a session store.",
    )
    availability_mode: str | None = setting(
        None,
        optional(choice("standalone", "replication")),
        environment=("EG_AVAILABILITY_MODE",),
        group=_ELSEWHERE,
        help="Kernels in pods outlive the gateway and are served by every replica without it.",
    )

    # --------------------------------------------------------------------------------------------------- operation
    log_style: str = setting(
        "text",
        choice("text", "json"),
        environment=("EG_LOG_STYLE",),
        group=_OPERATION,
        help="How log lines are written: text for people, json for machines, one event a line in both.",
    )
    dynamic_config_interval: int = setting(
        0,
        integer(0),
        environment=("EG_DYNAMIC_CONFIG_INTERVAL",),
        group=_OPERATION,
        help="Seconds between two looks at the configuration files, whose changed limits, users and culling times take effect "
        "without a restart; 0 never looks.",
    )


ACCEPTED_WITHOUT_EFFECT = _ELSEWHERE
"""The group of settings that older deployments set and that decide nothing here; setting one is logged."""
