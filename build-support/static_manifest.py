"""Write deploy/kubernetes/enterprise-gateway.yaml: what the chart makes by default, for `kubectl apply`.

With `--check` nothing is written: the exit code tells whether the file is what the chart makes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy" / "helm" / "enterprise-gateway"
TARGET = ROOT / "deploy" / "kubernetes" / "enterprise-gateway.yaml"
NAME = "enterprise-gateway"

_HEADER = """\
# Enterprise Gateway and the Kernel Image Puller, without Helm. Made by `make docs` from the chart with its defaults; whatever
# needs another setting is better installed by the chart.
#
# Install. The pods wait for the second command, which makes the token that every client must send:
#
#   kubectl apply -f enterprise-gateway.yaml
#   kubectl -n enterprise-gateway create secret generic enterprise-gateway-token --from-literal=token="$(openssl rand -hex 24)"
#   kubectl -n enterprise-gateway rollout status deployment/enterprise-gateway daemonset/kernel-image-puller
#
# Use:
#
#   PORT=$(kubectl -n enterprise-gateway get service enterprise-gateway -o jsonpath='{.spec.ports[0].nodePort}')
#   TOKEN=$(kubectl -n enterprise-gateway get secret enterprise-gateway-token -o jsonpath='{.data.token}' | base64 -d)
#   jupyter lab --gateway-url=http://ADDRESS-OF-A-NODE:$PORT --GatewayClient.auth_token=$TOKEN
#
# Uninstall, with all kernels:
#
#   kubectl delete all -l app=enterprise-gateway -n enterprise-gateway
#   kubectl delete namespaces,clusterroles,clusterrolebindings \\
#     -l app=enterprise-gateway,app.kubernetes.io/instance=enterprise-gateway
apiVersion: v1
kind: Namespace
metadata:
  name: enterprise-gateway
  labels:
    app: enterprise-gateway
    app.kubernetes.io/instance: enterprise-gateway
    app.kubernetes.io/name: enterprise-gateway
    app.kubernetes.io/part-of: enterprise-gateway
    component: enterprise-gateway
    # Nothing here needs an exception from it.
    pod-security.kubernetes.io/enforce: restricted
"""
# What is only true of what Helm itself installs.
_OF_HELM = re.compile(r"^(# Source: .*|\s+(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*)\n", re.MULTILINE)


def manifest() -> str:
    """Return the whole file."""
    command = [str(ROOT / "build-support" / "helm"), "template", NAME, str(CHART), "--namespace", NAME, "--no-hooks"]
    command += ["--set", "auth.existingSecret=enterprise-gateway-token"]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return _HEADER + _OF_HELM.sub("", rendered)


def main() -> int:
    """Write the file, or tell whether it is out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is out of date")
    check: bool = parser.parse_args().check
    text = manifest()
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    if check:
        print(f"{TARGET.relative_to(ROOT)} is not what the chart makes: make docs", file=sys.stderr)
        return 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
