import asyncio
import base64
import json
from types import SimpleNamespace

import pytest

from enterprise_gateway.cluster import connect
from enterprise_gateway.cluster.connect import IN_CLUSTER, find_cluster, own_service_account
from enterprise_gateway.cluster.deadline import Deadline
from enterprise_gateway.errors import KubernetesUnavailable, Unavailable


def token(claims):
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "RS256"}, claims))
    return ".".join((*parts, "signature"))


@pytest.fixture
def account(tmp_path, monkeypatch):
    """The folder in which a pod finds its service account."""
    monkeypatch.setattr(connect, "_SERVICE_ACCOUNT", tmp_path)
    return tmp_path


def test_a_pod_knows_its_service_account_by_its_token(account):
    (account / "token").write_text(token({"sub": "system:serviceaccount:team:gateway-sa"}))
    assert own_service_account() == "gateway-sa"


@pytest.mark.parametrize("text", ["", "opaque", "a.b.c", token({}), token({"sub": "somebody"}), token([])])
def test_another_kind_of_token_names_none(account, text):
    (account / "token").write_text(text)
    assert own_service_account() is None


@pytest.mark.usefixtures("account")
def test_outside_of_a_cluster_there_is_none():
    assert own_service_account() is None


def test_a_kubeconfig_that_is_named_wins_over_the_pods_own_cluster(account):
    (account / "token").write_text("x")
    inside = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOME": str(account)}
    assert find_cluster(inside) == IN_CLUSTER
    assert find_cluster({**inside, "KUBECONFIG": "/a"}) == "/a"
    assert find_cluster({**inside, "KUBECONFIG": "/a"}, kubeconfig="/b") == "/b"
    assert find_cluster({"HOME": str(account)}) is None


KUBECONFIG = {
    "current-context": "x",
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "x", "user": {"token": "t"}}],
}


@pytest.mark.parametrize("left", ["", "{", "current-context: x\ncontexts: [", "current-context: [x", "- a"])
def test_credentials_that_cant_be_read_anew_are_a_server_that_is_away(tmp_path, monkeypatch, left):
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(KUBECONFIG))

    async def scenario():
        client = await connect.connect(str(file))

        async def refused(*_arguments, **_options):
            return SimpleNamespace(status=401, release=lambda: None)

        monkeypatch.setattr(client, "_send_once", refused)
        file.write_text(left)
        try:
            with pytest.raises(KubernetesUnavailable, match="credentials can't be read anew"):
                await client.get("Pod", "home", "a", deadline=Deadline(0))
        finally:
            await client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ["", "{", "current-context: [x", "- a"])
def test_a_kubeconfig_that_cant_be_read_is_said(tmp_path, text):
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(Unavailable, match="configuration can't be used"):
        asyncio.run(connect.connect(str(tmp_path / "kubeconfig")))
