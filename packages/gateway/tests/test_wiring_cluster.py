import json
import subprocess
import sys

_KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "here",
    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    "clusters": [{"name": "here", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "me", "user": {"token": "secret"}}],
}
_CONNECT = """
import asyncio, sys
from enterprise_gateway.settings import GatewaySettings
from enterprise_gateway.wiring_cluster import make_cluster_services

async def connect():
    services = await make_cluster_services(sys.argv[1], GatewaySettings(), identity="me")
    await services.client.close()

asyncio.run(connect())
print("kubernetes" in sys.modules, "kubernetes_validate" in sys.modules)
"""


def test_what_the_kubernetes_client_can_do_without_is_not_loaded(tmp_path):
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(json.dumps(_KUBECONFIG))
    command = [sys.executable, "-c", _CONNECT, str(kubeconfig)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    assert said.split() == ["True", "False"]
