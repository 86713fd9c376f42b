"""Values: those of older charts work or are refused with what to write instead, and what can't work is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.charts import Rendering

_OLDER = yaml.safe_load((Path(__file__).parent / "older_values.yaml").read_text())


def _nested(path: str, value: object) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _merged(one[key], other[key]) if isinstance(one.get(key), dict) and key in other else other.get(key, one.get(key))
        for key in {**one, **other}
    }


def _objects(rendering: Rendering) -> list[dict[str, Any]]:
    assert not rendering.error, rendering.error
    return [each for each in rendering.objects if each["kind"] != "Secret"]


@pytest.mark.parametrize("older", [each for each in _OLDER if "instead" not in each], ids=lambda each: each["value"])
def test_a_value_of_an_older_chart_works(render: Callable[..., Rendering], older: dict[str, Any]) -> None:
    others = older.get("with", {})
    if older["value"] == "deployment.enabled":
        others = {"kip": {"serviceName": "elsewhere"}, "authToken": "of-the-gateway-elsewhere"}
    before, after = render(others), render(_merged(others, _nested(older["value"], older["example"])))

    if older["value"] == "authToken":
        assert after.one("Secret")["data"] == {"token": "c2VjcmV0"}
    else:
        assert _objects(before) != _objects(after), "it changes nothing"


@pytest.mark.parametrize("older", [each for each in _OLDER if "instead" in each], ids=lambda each: each["value"])
def test_a_value_that_moved_is_refused_with_what_to_write_instead(
    render: Callable[..., Rendering], older: dict[str, Any]
) -> None:
    error = render(_nested(older["value"], older["example"])).error

    assert f"{older['value']} isn't a value of this chart; write instead" in error
    assert older["instead"] in error


def test_every_moved_value_is_shown_and_every_older_value_is_of_this_list(chart: Path) -> None:
    moved = {entry["value"] for entry in yaml.safe_load((chart / "files" / "moved-values.yaml").read_text())["moved"]}

    assert moved == {each["value"] for each in _OLDER if "instead" in each}


def test_the_defaults_of_the_older_chart_work_but_for_its_socket_which_few_nodes_have(render: Callable[..., Rendering]) -> None:
    values = yaml.safe_load((Path(__file__).parent / "older_defaults.yaml").read_text())
    assert "only nodes that run Docker have it: leave it empty" in render(values).error

    values["kip"]["criSocket"] = "/run/docker.sock"
    rendering = render(values)

    assert not rendering.error, rendering.error
    (puller,) = rendering.one("DaemonSet")["spec"]["template"]["spec"]["containers"]
    chosen = {each["name"]: each.get("value") for each in puller["env"]}
    assert chosen["KIP_GATEWAY_HOST"] == "http://enterprise-gateway.enterprise-gateway.svc:8888"
    # The socket alone, and not the folder of everything that runs on the node.
    (socket,) = [each for each in rendering.one("DaemonSet")["spec"]["template"]["spec"]["volumes"] if each["name"] == "runtime"]
    assert socket["hostPath"] == {"path": "/run/docker.sock", "type": "Socket"}
    assert [port["name"] for port in rendering.one("Service")["spec"]["ports"]] == ["http"]


def test_all_values_that_moved_are_told_at_once(render: Callable[..., Rendering]) -> None:
    error = render({"port": 8888, "replicas": 1, "kernel": {"whitelist": ["a"]}}).error

    assert all(text in error for text in ("service.ports", "deployment.replicas", "kernel.allowedKernels"))


def test_an_older_value_that_asks_for_nothing_is_accepted(render: Callable[..., Rendering]) -> None:
    assert not render({"kip": {"podSecurityPolicy": {"create": False}}}).error


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"kernle": {}}, "additional properties 'kernle' not allowed", id="unknown"),
        pytest.param({"kernel": {"launchTimout": 1}}, "at '/kernel': additional properties 'launchTimout'", id="unknown, deeper"),
        pytest.param({"kernel": {"launchTimeout": "soon"}}, "at '/kernel/launchTimeout': got string", id="type"),
        pytest.param({"kip": {"pullPolicy": "Sometimes"}}, "value must be one of 'Always', 'IfNotPresent'", id="choice"),
        pytest.param({"baseUrl": "gateway"}, "at '/baseUrl'", id="base path"),
        pytest.param({"policy": {"image": ["a"]}}, "additional properties 'image' not allowed", id="policy"),
        pytest.param(
            {"service": {"ports": [{"name": "https", "port": 1}]}}, "value must be one of 'http', 'http-response'", id="port"
        ),
        pytest.param(
            {"kernelspecs": {"image": "a"}, "nfs": {"enabled": True, "internalServerIPAddress": "192.0.2.1"}},
            "kernelspecs.image and nfs.enabled: kernelspecs come from one place",
            id="two sources of kernelspecs",
        ),
        pytest.param({"nfs": {"enabled": True}}, "nfs.enabled needs nfs.internalServerIPAddress", id="nfs"),
        pytest.param({"kernelspecsPvc": {"enabled": True}}, "kernelspecsPvc.enabled needs kernelspecsPvc.name", id="claim"),
        pytest.param(
            {"auth": {"enabled": False}, "authToken": "a"}, "auth.enabled=false means that nobody needs a token", id="no token"
        ),
        pytest.param({"auth": {"existingSecret": "a"}, "authToken": "a"}, "both say what the token is", id="two tokens"),
        pytest.param(
            {"deployment": {"extraEnv": {"EG_AUTH_TOKEN": "a"}}}, "which keep it in a Secret", id="token in the environment"
        ),
        pytest.param({"kernel": {"clusterRole": "cluster-admin"}}, "can't be given the role cluster-admin", id="administrators"),
        pytest.param(
            {"kernel": {"namespaces": ["enterprise-gateway"]}}, "names the release's own namespace", id="the gateway's namespace"
        ),
        pytest.param(
            {"kernel": {"fixedNamespaces": True}},
            "needs the namespaces in kernel.namespaces",
            id="fixed namespaces without any",
        ),
        pytest.param(
            {"kernel": {"shareGatewayNamespace": True, "namespaces": ["a"]}},
            "all kernels run in the release's namespace",
            id="both",
        ),
        pytest.param({"deployment": {"enabled": False}}, "needs kip.serviceName or kip.images", id="a puller of nothing"),
        pytest.param({"deployment": {"enabled": False}, "kip": {"enabled": False}}, "nothing would be installed", id="nothing"),
        pytest.param(
            {"deployment": {"enabled": False}, "kip": {"serviceName": "gateway.elsewhere"}},
            "write its token in authToken or auth.existingSecret",
            id="a puller that nobody told the token",
        ),
        pytest.param({"tls": {"clientCertificates": True}}, "tls.clientCertificates needs tls.secretName", id="certificates"),
        pytest.param(
            {"tls": {"secretName": "a", "clientCertificates": True}}, "has no certificate to ask the gateway with", id="puller"
        ),
        pytest.param(
            {"service": {"ports": [{"name": "http-response", "port": 8877}]}}, "one port that is named http", id="no port"
        ),
        pytest.param(
            {"kip": {"fetcher": "StaticListFetcher", "images": ["a"]}}, "is a list, which FileImagesFetcher takes", id="a list"
        ),
        pytest.param({"kip": {"fetcher": "FileImagesFetcher", "images": "a"}}, "is a text, which StaticListFetcher", id="a text"),
        pytest.param(
            {"fullnameOverride": "eg", "kip": {"serviceName": "enterprise-gateway"}}, "the puller asks eg", id="its own gateway"
        ),
        pytest.param({"deployment": {"preStopSeconds": 90}}, "must be less than", id="a drain without time"),
    ],
)
def test_what_cant_work_is_refused_in_words(render: Callable[..., Rendering], values: dict[str, Any], words: str) -> None:
    assert words in render(values).error


def test_the_chart_has_nothing_that_lint_minds(lint: Callable[[str], str], case: str) -> None:
    assert lint(case) == ""


def _closed(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    if schema.get("type") == "object":
        if "additionalProperties" not in schema:
            yield path or "/"
        for name, each in schema.get("properties", {}).items():
            yield from _closed(each, f"{path}/{name}")


def test_every_mapping_says_which_keys_it_takes(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())

    assert not schema["additionalProperties"]
    assert not list(_closed(schema))
