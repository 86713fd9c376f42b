"""Builds the parts from the settings: the only place where they meet. What a setting doesn't ask for is not imported."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kernel_image_puller.cleanup import Cleaner
from kernel_image_puller.clock import Clock
from kernel_image_puller.credentials import CredentialStore
from kernel_image_puller.errors import ConfigurationError, PullFailed
from kernel_image_puller.node import Node
from kernel_image_puller.pulling import Puller, PullObserver
from kernel_image_puller.retrying import RetryPolicy
from kernel_image_puller.rounds import Rounds
from kernel_image_puller.runtimes.protocol import Runtime
from kernel_image_puller.runtimes.selection import Endpoint, RuntimeKind, choose_endpoint
from kernel_image_puller.scheduling import Job, Schedule
from kernel_image_puller.settings import COMBINED, CONFIG_MAP, FILE, KERNELSPECS, STATIC, Settings
from kernel_image_puller.sources.combined import CombinedSources
from kernel_image_puller.sources.protocol import Source
from kernel_image_puller.wanted import PullPolicy, WantingRules

if TYPE_CHECKING:
    from kernel_image_puller.kubernetes_api import KubernetesApi

__all__ = ["Parts", "build", "chosen_fetchers"]

_MOUNTED_PULL_SECRETS = "/etc/kernel-image-puller/pull-secrets"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that pulls; what only tells is built by the daemon."""

    settings: Settings
    runtime: Runtime
    sources: CombinedSources
    schedule: Schedule
    credentials: CredentialStore
    node: Node
    rounds: Rounds
    rules: WantingRules
    puller: Puller
    api: "KubernetesApi | None"


def build(
    settings: Settings,
    environment: Mapping[str, str],
    *,
    clock: Clock,
    changed: Callable[[], None] = lambda: None,
    observe: PullObserver = lambda _job, _outcome, _seconds: None,
    fetched: Callable[[bool], None] = lambda _answered: None,
) -> Parts:
    """Return the parts, unconnected to anything until they are used.

    Raises
    ------
    ConfigurationError
        A setting can't be used here.
    """
    fetchers = chosen_fetchers(settings, environment)
    endpoint = choose_endpoint(endpoint=settings.cri_endpoint, kind=settings.runtime, environment=environment)
    api = _build_api(settings, environment, needed=CONFIG_MAP in fetchers or endpoint.kind is RuntimeKind.KUBELET)
    node_name = settings.node_name or socket.gethostname()
    runtime = _build_runtime(settings, endpoint, api, node_name, clock)
    credentials = CredentialStore(paths=_credential_paths(settings, environment))
    sources = CombinedSources(sources=[_build_source(name, settings, api) for name in fetchers], clock=clock)
    schedule = Schedule(
        pullers=settings.num_pullers,
        retries=RetryPolicy(tries=settings.num_retries, first_wait=settings.retry_wait, longest_wait=settings.retry_max_wait),
        most_pulls_per_hour=settings.max_pulls_per_hour,
        clock=clock,
        changed=changed,
    )
    node = Node(
        name=node_name,
        labels=dict(settings.node_labels),
        api=api,
        min_free_percent=settings.min_free_percent,
        clock=clock,
    )
    state_file = Path(settings.state_file) if settings.state_file else None
    cleaner = Cleaner(runtime=runtime, after_seconds=settings.remove_after_hours * 3600, state_file=state_file, clock=clock)
    rules = WantingRules(
        policy=PullPolicy(settings.pull_policy),
        default_registry=settings.default_container_registry,
        allowed_registries=settings.allowed_registries,
    )
    rounds = Rounds(
        sources=sources,
        runtime=runtime,
        schedule=schedule,
        node=node,
        rules=rules,
        cleaner=cleaner,
        interval=settings.interval,
        clock=clock,
        fetched=fetched,
    )

    def observe_all(job: Job, outcome: int | PullFailed, seconds: float) -> None:
        if not isinstance(outcome, PullFailed) and not job.refresh:
            cleaner.brought(str(job.image.reference))
        observe(job, outcome, seconds)

    puller = Puller(
        schedule=schedule,
        runtime=runtime,
        credentials=credentials,
        timeout=settings.pull_timeout,
        clock=clock,
        observe=observe_all,
    )
    return Parts(
        settings=settings,
        runtime=runtime,
        sources=sources,
        schedule=schedule,
        credentials=credentials,
        node=node,
        rounds=rounds,
        rules=rules,
        puller=puller,
        api=api,
    )


def chosen_fetchers(settings: Settings, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the fetchers that are meant; without a choice, the one that the other settings speak of.

    Raises
    ------
    ConfigurationError
        A fetcher was chosen without what it needs.
    """
    chosen: tuple[str, ...]
    if settings.image_fetcher == COMBINED:
        chosen = settings.internal_fetchers
    elif settings.image_fetcher:
        chosen = (settings.image_fetcher,)
    elif settings.gateway_host == Settings.gateway_host and "KIP_GATEWAY_HOST" not in environment:
        chosen = (STATIC,) * bool(settings.images) + (FILE,) * bool(settings.images_file) or (KERNELSPECS,)
    else:
        chosen = (KERNELSPECS,)
    if FILE in chosen and not settings.images_file:
        raise ConfigurationError(f"{FILE} needs KIP_IMAGES_FILE")
    return chosen


def _build_api(settings: Settings, environment: Mapping[str, str], *, needed: bool) -> "KubernetesApi | None":
    wanted = settings.kubernetes
    if wanted is None:
        wanted = bool(environment.get("KUBERNETES_SERVICE_HOST") and settings.pod_name)
    if not wanted and not needed:
        return None
    from kernel_image_puller.kubernetes_api import from_service_account

    return from_service_account(environment)


def _build_source(name: str, settings: Settings, api: "KubernetesApi | None") -> Source:
    match name:
        case "KernelSpecsFetcher":
            from kernel_image_puller.sources.kernelspecs import KernelspecsSource

            return KernelspecsSource(
                gateway=settings.gateway_host,
                token=_token_reader(settings),
                verify=settings.validate_cert and (settings.ca_file or True),
                timeout=settings.fetch_timeout,
            )
        case "ConfigMapImagesFetcher" if api is not None:
            from kernel_image_puller.sources.config_map import ConfigMapSource

            return ConfigMapSource(reader=api, namespace=settings.cm_namespace, name=settings.cm_name, key=settings.cm_key_name)
        case "FileImagesFetcher":
            from kernel_image_puller.sources.static import FileSource

            return FileSource(path=Path(settings.images_file))
    from kernel_image_puller.sources.static import StaticSource

    return StaticSource(images=settings.images)


def _token_reader(settings: Settings) -> Callable[[], str]:
    if settings.auth_token_file:
        path = Path(settings.auth_token_file)
        return lambda: path.read_text(encoding="utf-8").strip()
    return lambda: settings.auth_token


def _build_runtime(settings: Settings, endpoint: Endpoint, api: "KubernetesApi | None", node_name: str, clock: Clock) -> Runtime:
    match endpoint.kind:
        case RuntimeKind.CRI:
            from kernel_image_puller.runtimes.cri import CriRuntime

            return CriRuntime(endpoint=endpoint.address)
        case RuntimeKind.DOCKER:
            from kernel_image_puller.runtimes.docker import DockerRuntime

            return DockerRuntime(address=endpoint.address)
        case RuntimeKind.KUBELET:
            from kernel_image_puller.runtimes.kubelet import KubeletRuntime

            if api is None or not settings.pod_name or not settings.pod_namespace:
                raise ConfigurationError("pulling by the kubelet needs KIP_POD_NAME and KIP_POD_NAMESPACE of a pod in a cluster")
            return KubeletRuntime(
                api=api,
                node=node_name,
                namespace=settings.pod_namespace,
                own_pod=settings.pod_name,
                image=settings.kubelet_image,
                clock=clock,
            )


def _credential_paths(settings: Settings, environment: Mapping[str, str]) -> tuple[Path, ...]:
    if settings.pull_secrets:
        return tuple(Path(path) for path in settings.pull_secrets)
    home = Path(environment.get("HOME") or "/")
    docker_config = Path(environment["DOCKER_CONFIG"]) if environment.get("DOCKER_CONFIG") else home / ".docker"
    return (Path(_MOUNTED_PULL_SECRETS), docker_config / "config.json")
