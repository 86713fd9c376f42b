"""An installation by the chart on a real cluster, used as its users do: Helm, kubectl, and the address that the notes tell."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["GATEWAY_IMAGE", "PULLER_IMAGE", "InstalledGateway", "Release", "kubectl", "listed", "sole_use_of_namespace"]

GATEWAY_IMAGE = os.environ.get("EG_E2E_GATEWAY_IMAGE", "elyra/enterprise-gateway:dev")
PULLER_IMAGE = os.environ.get("EG_E2E_PULLER_IMAGE", "elyra/kernel-image-puller:dev")
_ROOT = Path(__file__).parents[2]
_CHART = _ROOT / "deploy" / "helm" / "enterprise-gateway"
_PATIENCE = "180s"


@contextmanager
def sole_use_of_namespace(name: str) -> Iterator[None]:
    """Keep other tests of this machine out of a namespace whose name is given; fail where somebody else has it."""
    with (Path(tempfile.gettempdir()) / f"e2e-namespace-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if listed("namespaces", f"--field-selector=metadata.name={name}"):
            raise AssertionError(f"the namespace {name} is in use")
        yield


def kubectl(*arguments: str, text: str = "") -> str:
    """Return what kubectl prints.

    Raises
    ------
    AssertionError
        It fails; with what it said.
    """
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def listed(kinds: str, *arguments: str) -> list[dict[str, Any]]:
    """Return the objects of some kinds that aren't being deleted."""
    items = json.loads(kubectl("get", kinds, "-o", "json", *arguments))["items"]
    return [each for each in items if "deletionTimestamp" not in each["metadata"]]


@dataclass(frozen=True, kw_only=True)
class InstalledGateway:
    """The gateway of an installation, as a client outside of the cluster reaches it."""

    url: str
    token: str
    tls: None = None

    @property
    def websocket_url(self) -> str:
        """Where websockets begin."""
        return "ws" + self.url.removeprefix("http")

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"token {self.token}"} if self.token else {}

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request over a connection of its own, which a gateway that is replaced can't break later."""
        return requests.request(method, self.url + path, headers={**self.headers, "Connection": "close"}, timeout=120, **options)

    def start_kernel(self, env: Mapping[str, str] | None = None) -> str:
        """Return the id of a new kernel."""
        answer = self.request("POST", "/api/kernels", json={"name": "python_kubernetes", "env": dict(env or {})})
        assert answer.status_code == requests.codes.created, answer.text
        return str(answer.json()["id"])


class Release:
    """One release of the chart in a namespace; a context that leaves neither.

    Parameters
    ----------
    values
        What the release has beside the images and a short round of the puller.
    level
        The pod security standard that the namespace enforces.
    """

    def __init__(
        self,
        *,
        values: Mapping[str, Any] | None = None,
        name: str = "enterprise-gateway",
        namespace: str | None = None,
        level: str = "restricted",
    ) -> None:
        self.name = name
        self.namespace = namespace or f"chart-{secrets.token_hex(3)}"
        self._own_namespace = namespace is None
        self._level = level
        self.values = {**_IMAGES, **(values or {})}

    def __enter__(self) -> Self:
        if self._own_namespace:
            kubectl("create", "namespace", self.namespace)
            kubectl("label", "namespace", self.namespace, f"pod-security.kubernetes.io/enforce={self._level}")
        return self

    def __exit__(self, *_: object) -> None:
        self.helm("uninstall", "--ignore-not-found", "--no-hooks")
        instance = f"app=enterprise-gateway,app.kubernetes.io/instance={self.instance}"
        kubectl("delete", "namespaces", "-l", instance, "--wait=false")
        if self._own_namespace:
            kubectl("delete", "namespace", self.namespace, "--wait=false")

    @property
    def full_name(self) -> str:
        """The name of Deployment and Service."""
        return self.name if "enterprise-gateway" in self.name else f"{self.name}-enterprise-gateway"

    @property
    def instance(self) -> str:
        """The instance label of everything that belongs to it."""
        return f"{self.namespace}.{self.full_name}"

    def helm(self, verb: str, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        """Return what Helm prints.

        Raises
        ------
        AssertionError
            It fails; with what it said and how the pods are.
        """
        command = [str(_ROOT / "build-support" / "helm"), *verb.split(), self.name, *arguments, "--namespace", self.namespace]
        text = "" if values is None else yaml.safe_dump(dict(values))
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            pods = kubectl("get", "pods", "-n", self.namespace)
            raise AssertionError(f"helm {verb}: {done.stderr}\n{done.stdout}\n{pods}")
        return done.stdout

    def install(self, **values: Any) -> str:
        """Install or upgrade, wait until all is ready, and return the notes."""
        arguments = ("--install", str(_CHART), "--values", "-", "--wait", "--timeout", _PATIENCE)
        return self.helm("upgrade", *arguments, values={**self.values, **values})

    def gateway(self, path: str = "") -> InstalledGateway:
        """Return the gateway by the first node's address, with the release's token."""
        service = json.loads(kubectl("get", "service", self.full_name, "-n", self.namespace, "-o", "json"))
        (node, *_) = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
        host = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
        port = service["spec"]["ports"][0]["nodePort"]
        return InstalledGateway(url=f"http://{host}:{port}{path}", token=self.token())

    def token(self) -> str:
        """Return the token that stands in the release's Secret."""
        secret = json.loads(kubectl("get", "secret", f"{self.full_name}-token", "-n", self.namespace, "-o", "json"))
        return base64.b64decode(secret["data"]["token"]).decode()

    def objects(self) -> list[str]:
        """Return every object of the cluster that belongs to the release, its kernels too."""
        kinds = kubectl("api-resources", "--verbs=list", "-o", "name").split()
        kinds = [kind for kind in kinds if not kind.startswith("events")]
        found = listed(",".join(kinds), "-A", "-l", f"app.kubernetes.io/instance={self.instance}")
        return sorted(f"{each['kind']}/{each['metadata']['name']}" for each in found)


_IMAGES: dict[str, Any] = {"image": GATEWAY_IMAGE, "kip": {"image": PULLER_IMAGE, "interval": 15}}
