"""An installation whose kernels may start executors, and what is to be seen of those."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from tests.support.installation import Cluster, Installation, require_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Server

__all__ = ["executors", "spark_gateway", "spark_installation"]

_ROLE = Path(__file__).parents[2] / "deploy" / "helm" / "enterprise-gateway" / "templates" / "kernels" / "role.yaml"


@contextmanager
def spark_installation(folder: Path) -> Iterator[Installation]:
    """Return an installation in whose cluster the chart's own role for kernels is: that its rights are enough is tested too."""
    require_cluster()
    made = Installation(folder=folder, cluster=Cluster())
    rules = yaml.safe_load(_ROLE.read_text().split("rules:", 1)[1].split("{{-", 1)[0])
    name = _role(made)
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    made.cluster.kubectl("apply", "-f", "-", input=json.dumps(role))
    try:
        yield made
    finally:
        made.close()
        subprocess.run(["kubectl", "delete", "clusterrole", name], check=True, capture_output=True)


def spark_gateway(installation: Installation) -> Server:
    """Return a gateway that binds that role, and isn't started yet."""
    return installation.gateway(KERNEL_CLUSTER_ROLE=_role(installation))


def _role(installation: Installation) -> str:
    return f"{installation.cluster.instance}-kernel"


def executors(installation: Installation, kernel_id: str) -> list[dict[str, Any]]:
    """Return the pods of a kernel's executors."""
    pods = installation.cluster.pods(kernel_id)
    return [pod for pod in pods if pod["metadata"]["labels"].get("component") == "worker"]
