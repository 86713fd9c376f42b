"""The Secrets of a kernel: its connection and how it was started, and copies of registry credentials."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from enterprise_gateway_common.connection import CONNECTION_FILE, EXECUTOR_TEMPLATE

__all__ = ["GATEWAY_KEY", "LAUNCH_RECORD", "copied_pull_secret", "kernel_secret", "read_secret"]

LAUNCH_RECORD = "launch.json"
"""Entry that the pod doesn't see: the environment a restart needs, which may hold what only the user may know."""

GATEWAY_KEY = "gateway.key"
"""Entry that the pod doesn't see: the key by which gateways are let in by the kernel's supervisor."""

_PULL_SECRET_TYPES = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")


def kernel_secret(  # noqa: PLR0913  each is an entry of its own, named at the only call
    *,
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    connection_file: str | None,
    environment: Mapping[str, str],
    judged: Sequence[str],
    gateway_key: str | None = None,
    executor_template: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the Secret that, with the pod's annotations, is the whole record of a kernel.

    Parameters
    ----------
    judged
        Names of the variables that its client decided, which the policy judges again when it is restarted.
    """
    data = {LAUNCH_RECORD: json.dumps({"environment": dict(environment), "judged": list(judged)}, sort_keys=True)}
    if connection_file is not None:
        data[CONNECTION_FILE] = connection_file
    if executor_template is not None:
        data[EXECUTOR_TEMPLATE] = json.dumps(executor_template, sort_keys=True)
    if gateway_key is not None:
        data[GATEWAY_KEY] = gateway_key
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels), "annotations": dict(annotations)},
        "type": "Opaque",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


def read_secret(secret: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a Secret; an entry that isn't a text is left out."""
    texts = {}
    for key, encoded in (secret.get("data") or {}).items():
        try:
            texts[key] = base64.b64decode(encoded, validate=True).decode()
        except (ValueError, TypeError):
            continue
    return texts


def copied_pull_secret(original: Mapping[str, Any], *, namespace: str, labels: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a registry's credentials for another namespace; `None` for a Secret that holds something else."""
    if original.get("type") not in _PULL_SECRET_TYPES:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": original["metadata"]["name"], "namespace": namespace, "labels": dict(labels)},
        "type": original["type"],
        "data": dict(original.get("data") or {}),
    }
