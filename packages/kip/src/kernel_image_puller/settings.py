"""Every setting of the puller, declared once: environment name, option, type, default and text."""

from dataclasses import dataclass

from enterprise_gateway_common.environment import Kind, boolean, choice, integer, number, optional, ordered_names, setting, text

__all__ = ["COMBINED", "CONFIG_MAP", "FILE", "KERNELSPECS", "STATIC", "Settings"]

KERNELSPECS = "KernelSpecsFetcher"
STATIC = "StaticListFetcher"
CONFIG_MAP = "ConfigMapImagesFetcher"
FILE = "FileImagesFetcher"
COMBINED = "CombinedImagesFetcher"
_FETCHERS = (KERNELSPECS, STATIC, CONFIG_MAP, FILE)

_SOURCES, _PULLING, _RUNTIME, _NODE, _REPORTING = "Sources", "Pulling", "Runtime", "Node and cluster", "Reporting"


def _parse_labels(raw: str) -> tuple[tuple[str, str], ...]:
    pairs = [part.strip().partition("=") for part in raw.split(",") if part.strip()]
    if any(not separator or not label for label, separator, _ in pairs):
        raise ValueError("write label=value")
    return tuple(sorted((label.strip(), value.strip()) for label, _, value in pairs))


def _parse_fetchers(raw: str) -> tuple[str, ...]:
    chosen = ordered_names.parse(raw)
    unknown = [name for name in chosen if name not in _FETCHERS]
    if unknown:
        raise ValueError(f"{unknown[0]} is not one of {', '.join(_FETCHERS)}")
    return chosen


_labels: Kind[tuple[tuple[str, str], ...]] = Kind("label=value pairs separated by commas", _parse_labels)
_fetchers: Kind[tuple[str, ...]] = Kind("names of fetchers separated by commas", _parse_fetchers)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this puller works; nothing in it changes while the program runs."""

    # ----------------------------------------------------------------------------------------------------- sources
    image_fetcher: str = setting(
        "",
        choice(KERNELSPECS, STATIC, CONFIG_MAP, FILE, COMBINED, ""),
        environment=("KIP_IMAGE_FETCHER",),
        group=_SOURCES,
        help="""Where the names of images come from. Not set, it is StaticListFetcher when there are KIP_IMAGES and no
        KIP_GATEWAY_HOST, FileImagesFetcher when there is only a KIP_IMAGES_FILE, and KernelSpecsFetcher otherwise.""",
    )
    internal_fetchers: tuple[str, ...] = setting(
        (KERNELSPECS,),
        _fetchers,
        environment=("KIP_INTERNAL_FETCHERS",),
        group=_SOURCES,
        help="The fetchers that CombinedImagesFetcher takes together.",
    )
    gateway_host: str = setting(
        "http://localhost:8888",
        text,
        environment=("KIP_GATEWAY_HOST",),
        group=_SOURCES,
        help="The gateway's URL with its base path, for KernelSpecsFetcher.",
    )
    auth_token: str = setting(
        "",
        text,
        environment=("KIP_AUTH_TOKEN",),
        group=_SOURCES,
        secret=True,
        help="The token that the gateway expects. It is sent in the Authorization header only.",
    )
    auth_token_file: str = setting(
        "",
        text,
        environment=("KIP_AUTH_TOKEN_FILE",),
        group=_SOURCES,
        help="A file with the token, read anew for every request; it wins over KIP_AUTH_TOKEN.",
    )
    validate_cert: bool = setting(
        True,
        boolean,
        environment=("KIP_VALIDATE_CERT",),
        group=_SOURCES,
        help="Whether the gateway's TLS certificate must be valid.",
    )
    ca_file: str = setting(
        "",
        text,
        environment=("KIP_CA_FILE",),
        group=_SOURCES,
        help="Certificates that the gateway's certificate is checked with, instead of the system's.",
    )
    fetch_timeout: float = setting(
        60.0,
        number(minimum=0.1),
        environment=("KIP_FETCH_TIMEOUT",),
        group=_SOURCES,
        help="Seconds that the gateway may take to accept a connection, and again for every further part of its answer.",
    )
    images: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("KIP_IMAGES",),
        group=_SOURCES,
        help="The images of StaticListFetcher, separated by commas.",
    )
    images_file: str = setting(
        "",
        text,
        environment=("KIP_IMAGES_FILE",),
        group=_SOURCES,
        help="""A YAML file with a list of images for FileImagesFetcher, such as a mounted ConfigMap's; it is read anew
        in every round. An entry is a name or a mapping of image, pull_policy and node_selector.""",
    )
    cm_namespace: str = setting(
        "enterprise-gateway",
        text,
        environment=("KIP_CM_NAMESPACE",),
        group=_SOURCES,
        help="The namespace of ConfigMapImagesFetcher's ConfigMap.",
    )
    cm_name: str = setting(
        "kernel-images",
        text,
        environment=("KIP_CM_NAME",),
        group=_SOURCES,
        help="The name of that ConfigMap.",
    )
    cm_key_name: str = setting(
        "image-names",
        text,
        environment=("KIP_CM_KEY_NAME",),
        group=_SOURCES,
        help="The key in that ConfigMap whose value is a YAML list of images.",
    )
    default_container_registry: str = setting(
        "",
        text,
        environment=("KIP_DEFAULT_CONTAINER_REGISTRY",),
        group=_SOURCES,
        help="Where an image is pulled from whose name has no registry; docker.io when not set.",
    )
    allowed_registries: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("KIP_ALLOWED_REGISTRIES",),
        group=_SOURCES,
        help="""Registries, each with an optional path, that images may come from (docker.io/elyra, quay.io). Every
        other image is refused before the runtime hears of it. Not set, every registry is allowed.""",
    )

    # ----------------------------------------------------------------------------------------------------- pulling
    interval: float = setting(
        300.0,
        number(minimum=1),
        environment=("KIP_INTERVAL",),
        group=_PULLING,
        help="Seconds from one round to the next; up to a tenth less, so that nodes drift apart.",
    )
    pull_policy: str = setting(
        "IfNotPresent",
        text,
        environment=("KIP_PULL_POLICY",),
        group=_PULLING,
        help="IfNotPresent pulls what is missing; Always also asks the registry in every round whether a tag has moved.",
    )
    num_pullers: int = setting(
        2,
        integer(minimum=1, maximum=64),
        environment=("KIP_NUM_PULLERS",),
        group=_PULLING,
        help="""Pulls at the same time. One more runs only for a registry that nothing is being pulled from, so that a
        slow registry doesn't hold up the others.""",
    )
    num_retries: int = setting(
        3,
        integer(minimum=1, maximum=100),
        environment=("KIP_NUM_RETRIES",),
        group=_PULLING,
        help="Tries for an image before it counts as failed; the next series comes in a later round.",
    )
    pull_timeout: float = setting(
        600.0,
        number(minimum=1),
        environment=("KIP_PULL_TIMEOUT",),
        group=_PULLING,
        help="Seconds that one try may take; then it is cancelled.",
    )
    retry_wait: float = setting(
        1.0,
        number(minimum=0.01),
        environment=("KIP_RETRY_WAIT",),
        group=_PULLING,
        help="Seconds before the second try; every further wait is twice as long, with jitter.",
    )
    retry_max_wait: float = setting(
        300.0,
        number(minimum=0.01),
        environment=("KIP_RETRY_MAX_WAIT",),
        group=_PULLING,
        help="The longest wait between tries, in seconds. What a registry asks for in Retry-After is kept up to an hour.",
    )
    max_pulls_per_hour: int = setting(
        6,
        integer(minimum=1),
        environment=("KIP_MAX_PULLS_PER_HOUR",),
        group=_PULLING,
        help="How often in an hour an image is brought back that somebody else removes, such as the kubelet's clean-up.",
    )
    pull_secrets: tuple[str, ...] = setting(
        (),
        ordered_names,
        environment=("KIP_PULL_SECRETS",),
        group=_PULLING,
        help="""Files or folders with registry credentials, such as mounted Secrets of type kubernetes.io/dockerconfigjson,
        separated by commas. Not set: /etc/kernel-image-puller/pull-secrets, then the Docker client's own file.""",
    )
    remove_after_hours: float = setting(
        0.0,
        number(minimum=0),
        environment=("KIP_REMOVE_AFTER_HOURS",),
        group=_PULLING,
        help="Hours after which an image that this puller brought and nobody wants any more is removed; 0 removes nothing.",
    )
    state_file: str = setting(
        "",
        text,
        environment=("KIP_STATE_FILE",),
        group=_PULLING,
        help="Where the list of images that this puller brought survives its restart; needed only for KIP_REMOVE_AFTER_HOURS.",
    )

    # ----------------------------------------------------------------------------------------------------- runtime
    cri_endpoint: str = setting(
        "",
        text,
        environment=("KIP_CRI_ENDPOINT",),
        group=_RUNTIME,
        help="""The container runtime: unix:///run/containerd/containerd.sock and any other CRI socket,
        unix:///var/run/docker.sock or tcp://host:port for a Docker engine, kubelet:// for pulling by pods without any
        socket. Not set, the first socket that exists is taken, else the kubelet when this is a pod.""",
    )
    runtime: str = setting(
        "auto",
        choice("auto", "cri", "docker", "kubelet"),
        environment=("KIP_RUNTIME",),
        group=_RUNTIME,
        help="How the endpoint is spoken to, where its name doesn't tell.",
    )
    min_free_percent: float = setting(
        15.0,
        number(minimum=0, maximum=100),
        environment=("KIP_MIN_FREE_PERCENT",),
        group=_RUNTIME,
        help="""Nothing is pulled while the images' file system has less room than this; the kubelet starts to remove
        images at the same mark. Used where that file system can be seen from here.""",
    )
    kubelet_image: str = setting(
        "",
        text,
        environment=("KIP_KUBELET_IMAGE",),
        group=_RUNTIME,
        help="The image of the pods in kubelet mode; not set, the one that this puller runs in.",
    )

    # -------------------------------------------------------------------------------------------- node and cluster
    node_name: str = setting(
        "",
        text,
        environment=("KIP_NODE_NAME",),
        group=_NODE,
        help="This node's name; not set, the machine's.",
    )
    node_labels: tuple[tuple[str, str], ...] = setting(
        (),
        _labels,
        environment=("KIP_NODE_LABELS",),
        group=_NODE,
        help="""Labels of this node where there is no Kubernetes to ask, for images with a node selector.""",
    )
    pod_name: str = setting(
        "",
        text,
        environment=("KIP_POD_NAME",),
        group=_NODE,
        help="This puller's own pod, which carries its events and its annotation.",
    )
    pod_namespace: str = setting(
        "",
        text,
        environment=("KIP_POD_NAMESPACE",),
        group=_NODE,
        help="The namespace of that pod.",
    )
    kubernetes: bool | None = setting(
        None,
        optional(boolean),
        environment=("KIP_KUBERNETES",),
        group=_NODE,
        help="""Whether the API server is asked for this node's labels and disk pressure. Not set, it is when this
        is a pod with a name.""",
    )
    annotate: bool = setting(
        True,
        boolean,
        environment=("KIP_ANNOTATE",),
        group=_NODE,
        help="Whether the pod gets the annotation by which the gateway knows the images of this node.",
    )
    events: bool = setting(
        True,
        boolean,
        environment=("KIP_EVENTS",),
        group=_NODE,
        help="Whether to emit a Kubernetes event, of the puller's pod, when a pull fails.",
    )
    startup_taint: str = setting(
        "",
        text,
        environment=("KIP_STARTUP_TAINT",),
        group=_NODE,
        help="The key of a taint that new nodes carry and that is removed when the first round is done.",
    )

    # --------------------------------------------------------------------------------------------------- reporting
    log_level: str = setting(
        "INFO",
        choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        environment=("KIP_LOG_LEVEL",),
        group=_REPORTING,
        help="The least important log lines that are written.",
    )
    log_format: str = setting(
        "text",
        choice("text", "json"),
        environment=("KIP_LOG_FORMAT",),
        group=_REPORTING,
        help="Log lines as text or as JSON.",
    )
    http_host: str = setting(
        "127.0.0.1",
        text,
        environment=("KIP_HTTP_HOST",),
        group=_REPORTING,
        help="The address on which /livez, /readyz, /metrics and /status are served.",
    )
    http_port: int = setting(
        8890,
        integer(minimum=0, maximum=65535),
        environment=("KIP_HTTP_PORT",),
        group=_REPORTING,
        help="The port of these pages; 0 serves none.",
    )
    metrics_per_image: bool = setting(
        False,
        boolean,
        environment=("KIP_METRICS_PER_IMAGE",),
        group=_REPORTING,
        help="Whether there is also a metric for each image, which makes as many series as there are images.",
    )
