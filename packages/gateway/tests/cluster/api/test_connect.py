import asyncio
import base64
import json
from types import SimpleNamespace

import pytest

from enterprise_gateway.cluster.api import connect
from enterprise_gateway.cluster.api.connect import IN_CLUSTER, find_cluster, own_service_account
from enterprise_gateway.deadline import Deadline
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


@pytest.fixture
def heard(tmp_path, monkeypatch):
    """Tells the head of the request that a client sends; `{here}` in what it is given stands for where somebody listens."""
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    async def scenario(cluster, environment):
        head = asyncio.get_running_loop().create_future()

        async def answer(reader, writer):
            head.set_result((await reader.readuntil(b"\r\n\r\n")).decode().replace("authorization", "Authorization"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
            here = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            there = {name: text.format(here=here) for name, text in cluster.items()}
            (tmp_path / "kubeconfig").write_text(json.dumps({**KUBECONFIG, "clusters": [{"name": "x", "cluster": there}]}))
            for name, text in environment.items():
                monkeypatch.setenv(name, text.format(here=here))
            client = await connect.connect(str(tmp_path / "kubeconfig"))
            try:
                await client.get("Pod", "home", "a", deadline=Deadline(5))
            finally:
                await client.close()
        return head.result()

    return lambda cluster, **environment: asyncio.run(scenario(cluster, environment))


NOWHERE = "http://127.0.0.1:1"


def test_the_proxy_of_the_environment_is_used(heard):
    head = heard({"server": "http://api.invalid:6443"}, HTTP_PROXY="{here}")
    assert head.startswith("GET http://api.invalid:6443/api/v1/namespaces/home/pods/a ")


def test_a_server_that_is_excepted_from_the_proxy_is_asked_itself(heard):
    head = heard({"server": "{here}"}, HTTP_PROXY=NOWHERE, NO_PROXY="127.0.0.1")
    assert head.startswith("GET /api/v1/namespaces/home/pods/a ")


def test_the_proxy_of_the_kubeconfig_wins_over_that_of_the_environment(heard):
    head = heard({"server": "http://api.invalid:6443", "proxy-url": "{here}"}, HTTP_PROXY=NOWHERE)
    assert head.startswith("GET http://api.invalid:6443/api/v1/namespaces/home/pods/a ")


def test_a_netrc_has_no_say_in_who_calls(heard, tmp_path):
    (tmp_path / ".netrc").write_text("default login somebody password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    head = heard({"server": "{here}"}, HOME=str(tmp_path))
    assert "Authorization: Bearer t\r\n" in head
