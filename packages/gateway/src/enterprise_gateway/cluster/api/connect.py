"""Finds the cluster: a kubeconfig that is named, the cluster that this process is a pod of, or the user's kubeconfig."""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from enterprise_gateway.errors import KubernetesUnavailable, Unavailable
from enterprise_gateway.launch.policy import SYSTEM_NAMESPACE_PREFIX

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

    from enterprise_gateway.cluster.api.client import ClusterClient
    from enterprise_gateway.settings import GatewaySettings

__all__ = ["check_cluster_settings", "connect", "find_cluster", "own_namespace", "own_service_account"]

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CONNECTIONS = 64
IN_CLUSTER = ""
_CLUSTER_ADMIN = "cluster-admin"


def check_cluster_settings(settings: "GatewaySettings") -> None:
    """Return when the settings of the cluster don't contradict each other.

    Raises
    ------
    ValueError
        They do; the text names the setting.
    """
    if settings.shared_namespace and (settings.namespace or own_namespace()) is None:
        raise ValueError("shared_namespace needs a namespace: set it (EG_NAMESPACE), since this isn't a pod.")
    if settings.shared_namespace and settings.kernel_namespaces:
        raise ValueError("shared_namespace and kernel_namespaces exclude each other.")
    if settings.spark_namespace is not None:
        _check_spark_namespace(settings, settings.spark_namespace)
    if settings.kernel_cluster_role == _CLUSTER_ADMIN:
        raise ValueError("kernel_cluster_role: kernels can't be given the role cluster-admin.")
    for pattern in settings.prohibited_local_ips:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"prohibited_local_ips: {pattern} is no regular expression ({error}).") from error


def _check_spark_namespace(settings: "GatewaySettings", name: str) -> None:
    # There the account of a kernel makes pods, which may mount every Secret and take every account of the namespace.
    if name == (settings.namespace or own_namespace()) or name.startswith(SYSTEM_NAMESPACE_PREFIX):
        raise ValueError("spark_namespace can't be the gateway's own namespace or one of the system's.")
    if name in settings.kernel_namespaces:
        raise ValueError("spark_namespace can't be one of kernel_namespaces, where other kernels run.")
    if name in settings.puller_namespaces:
        raise ValueError("spark_namespace can't be one of puller_namespaces, where kernels may make no pods.")


def find_cluster(environment: Mapping[str, str], *, kubeconfig: str | None = None) -> str | None:
    """Return the kubeconfig to use, the empty text for the cluster that this is a pod of, `None` where there is no cluster.

    Parameters
    ----------
    kubeconfig
        The kubeconfig that a setting names; it wins over everything.
    """
    named = kubeconfig or environment.get("KUBECONFIG")
    if named:
        return named
    if environment.get("KUBERNETES_SERVICE_HOST") and (_SERVICE_ACCOUNT / "token").is_file():
        return IN_CLUSTER
    default = Path(environment.get("HOME", "/")) / ".kube" / "config"
    return str(default) if default.is_file() else None


def own_namespace() -> str | None:
    """Return the namespace that this process is a pod of; `None` outside of a cluster."""
    file = _SERVICE_ACCOUNT / "namespace"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def own_service_account() -> str | None:
    """Return the service account that this process runs as, from its token; `None` outside of a cluster."""
    file = _SERVICE_ACCOUNT / "token"
    try:
        payload = file.read_text(encoding="ascii").split(".")[1]
        subject = str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    prefix, _, name = subject.rpartition(":")
    return name if prefix.startswith("system:serviceaccount:") else None


async def connect(cluster: str) -> "ClusterClient":
    """Return a client for what `find_cluster` found.

    Raises
    ------
    Unavailable
        The configuration can't be used; the cause says why.
    """
    # Their import takes 0.3 s and 43 MiB, which a gateway without a cluster doesn't pay.
    from kubernetes.aio.client import ApiClient, Configuration

    from enterprise_gateway.cluster.api.client import ClusterClient

    configuration = Configuration()
    configuration.connection_pool_maxsize = _CONNECTIONS
    # With it each call asks two threads, for a .netrc and for a proxy, which is a fifth of the processor time of a start;
    # and a .netrc has no business with the API server.
    configuration.client_session_kwargs = {"trust_env": False}
    try:
        await _load(cluster, configuration)
    except Exception as error:
        # The parsers of its files and tokens have no error in common.
        raise Unavailable("The cluster's configuration can't be used.") from error

    async def renew() -> None:
        try:
            await _load(cluster, configuration)
        except Exception as error:
            # Such a file is often only half written: whoever calls asks again, as where the server is away.
            words = f"the credentials can't be read anew ({type(error).__name__})"
            raise KubernetesUnavailable(words, kind="credentials") from error

    return ClusterClient(api=ApiClient(configuration), renew=renew)


async def _load(cluster: str, configuration: "Configuration") -> None:
    from kubernetes.aio.config import load_incluster_config, load_kube_config

    if cluster == IN_CLUSTER:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # the library has no types here
    else:
        await load_kube_config(  # type: ignore[no-untyped-call]  # as above
            config_file=cluster, client_configuration=configuration, persist_config=False
        )
    if configuration.proxy is None:
        configuration.proxy = _proxy_of_the_environment(configuration.host)


def _proxy_of_the_environment(server: str) -> str | None:
    """Return the proxy that HTTPS_PROXY or HTTP_PROXY names for a server, unless NO_PROXY excepts it."""
    url = urlsplit(server)
    return None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)
