"""The few calls to the API server that a puller makes, as the service account of its pod.

The Kubernetes client library costs as much memory as everything else of this program together; why these calls are made
without it stands in docs/decisions/0006-puller-speaks-rest.md.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from enterprise_gateway_common.tokens import is_one_printable_word
from kernel_image_puller.classification import without_secrets
from kernel_image_puller.errors import ConfigurationError, KubernetesCallFailed

__all__ = ["KubernetesApi", "from_service_account"]

Document = dict[str, Any]

_CALL_SECONDS = 10.0
_MERGE_PATCH = "application/merge-patch+json"
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubernetesApi:
    """Calls to one API server. May be used by several threads.

    Parameters
    ----------
    url
        The server's URL.
    token_file
        The service account's token, read anew for every call because Kubernetes renews it.
    ca_file
        What the server's certificate is checked with.
    """

    def __init__(self, *, url: str, token_file: Path, ca_file: Path) -> None:
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._ca_file = ca_file
        # A session is not made for several threads; each thread keeps its own connection.
        self._local = threading.local()

    def config_map(self, namespace: str, name: str) -> dict[str, str]:
        """Return the data of a ConfigMap."""
        data = self._call("GET", _in_namespace(namespace, "configmaps", name)).get("data") or {}
        return dict(data)

    def node(self, name: str) -> Document:
        """Return a node."""
        return self._call("GET", f"/api/v1/nodes/{quote(name)}")

    def set_taints(self, node: Document, taints: list[Document]) -> None:
        """Give a node other taints, unless somebody has changed the node since it was read."""
        body = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"taints": taints}}
        self._call("PATCH", f"/api/v1/nodes/{quote(node['metadata']['name'])}", body, content_type=_MERGE_PATCH)

    def pod(self, namespace: str, name: str) -> Document:
        """Return a pod."""
        return self._call("GET", _in_namespace(namespace, "pods", name))

    def pods(self, namespace: str, label_selector: str) -> list[Document]:
        """Return the pods with these labels."""
        answer = self._call("GET", _in_namespace(namespace, "pods"), query={"labelSelector": label_selector})
        return list(answer.get("items") or [])

    def create_pod(self, namespace: str, pod: Document, *, dry_run: bool = False) -> Document:
        """Create a pod, or only ask what it would become."""
        return self._call("POST", _in_namespace(namespace, "pods"), pod, query={"dryRun": "All"} if dry_run else {})

    def delete_pod(self, namespace: str, name: str) -> None:
        """Delete a pod at once; one that isn't there is as good as deleted."""
        try:
            self._call("DELETE", _in_namespace(namespace, "pods", name), {"gracePeriodSeconds": 0})
        except KubernetesCallFailed as error:
            if error.status != requests.codes.not_found:
                raise

    def annotate_pod(self, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
        """Set annotations of a pod and leave its others alone."""
        body = {"metadata": {"annotations": dict(annotations)}}
        self._call("PATCH", _in_namespace(namespace, "pods", name), body, content_type=_MERGE_PATCH)

    def create_event(self, namespace: str, event: Document) -> None:
        """Create an event."""
        self._call("POST", _in_namespace(namespace, "events"), event)

    def close(self) -> None:
        """Close this thread's connection; those of other threads end with them."""
        session = getattr(self._local, "session", None)
        if session is not None:
            session.close()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.verify = str(self._ca_file)
            # A proxy of the environment must not see the token.
            session.trust_env = False
            self._local.session = session
        return session

    def _call(
        self,
        verb: str,
        path: str,
        body: Document | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Document:
        try:
            # Undecodable bytes become characters that are refused below, without an error that shows them.
            token = self._token_file.read_text(encoding="ascii", errors="replace").strip()
            if not is_one_printable_word(token):
                raise KubernetesCallFailed(f"{verb} {path}: {self._token_file} doesn't hold a token")
            response = self._session().request(
                verb,
                self._url + path,
                params=dict(query or {}),
                json=body,
                headers={"Authorization": f"Bearer {token}", "Content-Type": content_type, "Accept": "application/json"},
                timeout=_CALL_SECONDS,
                allow_redirects=False,
            )
        except (OSError, ValueError) as error:
            raise KubernetesCallFailed(f"{verb} {path}: {without_secrets(str(error))}") from error
        if not response.ok:
            message = f"{verb} {path}: {response.status_code} {_words(response)}"
            raise KubernetesCallFailed(message, status=response.status_code)
        try:
            document: Document = response.json()
        except ValueError as error:
            raise KubernetesCallFailed(f"{verb} {path}: the answer is not JSON") from error
        return document


def from_service_account(environment: Mapping[str, str], folder: Path = _SERVICE_ACCOUNT) -> KubernetesApi:
    """Return the API server of the cluster that this pod is in.

    Raises
    ------
    ConfigurationError
        This isn't a pod, or it has no service account's token.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    token_file, ca_file = folder / "token", folder / "ca.crt"
    if not host:
        raise ConfigurationError("this is not a pod of a cluster: KUBERNETES_SERVICE_HOST is not set")
    if not token_file.is_file():
        raise ConfigurationError(f"this pod has no service account's token: {token_file} doesn't exist")
    address = f"[{host}]" if ":" in host else host
    return KubernetesApi(url=f"https://{address}:{port}", token_file=token_file, ca_file=ca_file)


def _in_namespace(namespace: str, kind: str, name: str = "") -> str:
    path = f"/api/v1/namespaces/{quote(namespace)}/{kind}"
    return f"{path}/{quote(name)}" if name else path


def _words(response: requests.Response) -> str:
    try:
        return without_secrets(str(response.json()["message"]))
    except (ValueError, KeyError, TypeError):
        return response.reason
