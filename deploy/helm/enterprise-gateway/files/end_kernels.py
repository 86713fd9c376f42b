"""End the kernels of one installation and remove what belongs to them; return when nothing is left.

Runs in the gateway's image after the gateway is gone, so it uses nothing but Python itself.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PATIENCE_SECONDS = 200.0
_CALL_SECONDS = 15.0
_BETWEEN_LOOKS_SECONDS = 1.0
_NOT_FOUND = 404
_CONFLICT = 409
_POOL = "kernel-pool"


class Cluster:
    """The API server, as this pod's service account sees it."""

    def __init__(self) -> None:
        host = os.environ["KUBERNETES_SERVICE_HOST"]
        address = f"[{host}]" if ":" in host else host
        self._url = f"https://{address}:{os.environ['KUBERNETES_SERVICE_PORT']}"
        self._tls = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))

    def list(self, path: str, selector: str) -> list[dict[str, Any]]:
        """Return the objects with these labels."""
        return self._call("GET", f"{path}?{urlencode({'labelSelector': selector})}").get("items") or []

    def delete(self, path: str) -> None:
        """Delete an object and what it owns; one that is gone or going is as good as deleted."""
        try:
            self._call("DELETE", path, {"propagationPolicy": "Background"})
        except urllib.error.HTTPError as error:
            if error.code not in {_NOT_FOUND, _CONFLICT}:
                raise

    def _call(self, verb: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {(_ACCOUNT / 'token').read_text().strip()}",
            "Content-Type": "application/json",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=verb)  # noqa: S310  always https
        with urllib.request.urlopen(request, timeout=_CALL_SECONDS, context=self._tls) as answer:  # noqa: S310  as above
            return dict(json.load(answer))


def places(instance: str, only_namespaces: list[str], components: str) -> list[tuple[str, str]]:
    """Return where to look and for which labels; namespaces first, because they take along what is in them."""
    selector = f"app=enterprise-gateway,component in ({components}),app.kubernetes.io/instance={instance}"
    # Pods that wait for a kernel own all that belongs to them, and have no namespace of their own.
    kinds = ["pods"] if components == _POOL else ["pods", "secrets"]
    if not only_namespaces:
        return [(f"/api/v1/{plural}", selector) for plural in ("namespaces", *kinds)]
    return [(f"/api/v1/namespaces/{quote(home)}/{plural}", selector) for home in only_namespaces for plural in kinds]


def one_round(cluster: Cluster, instance: str, only_namespaces: list[str], components: str) -> list[str]:
    """Delete what is there and return its names."""
    found = []
    for path, selector in places(instance, only_namespaces, components):
        root, _, plural = path.rpartition("/")
        for item in cluster.list(path, selector):
            metadata = item["metadata"]
            home = metadata.get("namespace", "")
            found.append(f"{plural}/{home + '/' if home else ''}{metadata['name']}")
            if "deletionTimestamp" not in metadata:
                prefix = root.partition("/namespaces/")[0]
                inside = f"/namespaces/{quote(home)}" if home else ""
                cluster.delete(f"{prefix}{inside}/{plural}/{quote(metadata['name'])}")
    return found


def main() -> int:
    """Delete until nothing is left or the time is over."""
    cluster, end = Cluster(), time.monotonic() + _PATIENCE_SECONDS
    only_namespaces = [name for name in os.environ["ONLY_NAMESPACES"].split(",") if name]
    told: set[str] = set()
    while True:
        try:
            found = one_round(cluster, os.environ["INSTANCE"], only_namespaces, os.environ["COMPONENTS"])
        except OSError as error:
            # Rights that were made a moment ago may not be known everywhere yet; the job tries again.
            print(f"The API server doesn't do it: {error}", file=sys.stderr)
            return 1
        for name in sorted(set(found) - told):
            print(f"ending {name}", flush=True)
        told.update(found)
        if not found:
            print(f"{len(told)} objects of kernels removed")
            return 0
        if time.monotonic() > end:
            print(f"Still there: {', '.join(found)}", file=sys.stderr)
            return 1
        time.sleep(_BETWEEN_LOOKS_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
